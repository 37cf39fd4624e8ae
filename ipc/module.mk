# Bytes and messages between processes.
libtinecore_la_SOURCES += \
	%D%/address.c %D%/address.h \
	%D%/auth.c %D%/auth.h \
	%D%/auth_native.c %D%/auth_native.h \
	%D%/auth_python.c \
	%D%/encrypt.c %D%/encrypt.h \
	%D%/handshake.c %D%/handshake.h \
	%D%/lane.c %D%/lane.h \
	%D%/ring.c %D%/ring.h \
	%D%/secret.c %D%/secret.h \
	%D%/wait.c
