# Bytes and messages between processes.
libtinecore_la_SOURCES += \
	%D%/address.c %D%/address.h \
	%D%/auth.c %D%/auth.h \
	%D%/auth_native.c %D%/auth_native.h \
	%D%/auth_python.c \
	%D%/blocks.c %D%/blocks.h \
	%D%/charge.c %D%/charge.h \
	%D%/connection.c %D%/connection.h \
	%D%/encrypt.c %D%/encrypt.h \
	%D%/fifo.c %D%/fifo.h \
	%D%/frame.c %D%/frame.h \
	%D%/get.c \
	%D%/handles.c %D%/handles.h \
	%D%/handshake.c %D%/handshake.h \
	%D%/item.c \
	%D%/join.c \
	%D%/lane.c %D%/lane.h \
	%D%/lease.c \
	%D%/listener.c \
	%D%/parties.c %D%/parties.h \
	%D%/pipe.c \
	%D%/put.c \
	%D%/queue.c \
	%D%/queue_impl.h \
	%D%/queue_wait.c \
	%D%/ranking.c %D%/ranking.h \
	%D%/ring.c %D%/ring.h \
	%D%/rpc_client.c \
	%D%/rpc_message.c %D%/rpc_message.h \
	%D%/rpc_peer.c %D%/rpc_peer.h \
	%D%/rpc_request.c \
	%D%/rpc_server.c \
	%D%/secret.c %D%/secret.h \
	%D%/slots.c %D%/slots.h \
	%D%/stream.h %D%/stream_in.c %D%/stream_out.c \
	%D%/sweep.c \
	%D%/transport.h \
	%D%/transport_ring.c %D%/transport_ring.h \
	%D%/transport_socket.c %D%/transport_socket.h \
	%D%/transport_stream.c %D%/transport_stream.h \
	%D%/wait.c
