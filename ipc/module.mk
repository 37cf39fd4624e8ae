# Bytes and messages between processes.
libtinecore_la_SOURCES += \
	%D%/address.c %D%/address.h \
	%D%/auth.c %D%/auth.h \
	%D%/auth_native.c %D%/auth_native.h \
	%D%/auth_python.c \
	%D%/blocks.c %D%/blocks.h \
	%D%/connection.c %D%/connection.h \
	%D%/encrypt.c %D%/encrypt.h \
	%D%/frame.c %D%/frame.h \
	%D%/handles.c %D%/handles.h \
	%D%/handshake.c %D%/handshake.h \
	%D%/lane.c %D%/lane.h \
	%D%/listener.c \
	%D%/pipe.c \
	%D%/ring.c %D%/ring.h \
	%D%/secret.c %D%/secret.h \
	%D%/stream.h %D%/stream_in.c %D%/stream_out.c \
	%D%/transport.h \
	%D%/transport_socket.c %D%/transport_socket.h \
	%D%/transport_stream.c %D%/transport_stream.h \
	%D%/wait.c
