# Bytes and messages between processes.
libtinecore_la_SOURCES += \
	%D%/address.c %D%/address.h \
	%D%/auth.c %D%/auth.h \
	%D%/auth_handshake.c %D%/auth_handshake.h \
	%D%/auth_native.c %D%/auth_native.h \
	%D%/auth_python.c \
	%D%/auth_secret.c %D%/auth_secret.h \
	%D%/blocks.c %D%/blocks.h \
	%D%/connection.c %D%/connection.h %D%/connection_impl.h \
	%D%/connection_handle.c \
	%D%/connection_place.c \
	%D%/connection_values.c \
	%D%/connection_wait.c \
	%D%/dial.c \
	%D%/encrypt.c %D%/encrypt.h \
	%D%/end.c %D%/end.h \
	%D%/frame.c %D%/frame.h \
	%D%/handles.c %D%/handles.h \
	%D%/lane.c %D%/lane.h \
	%D%/listener.c %D%/listener_impl.h \
	%D%/listener_accept.c \
	%D%/pipe.c \
	%D%/queue.c \
	%D%/queue_charge.c %D%/queue_charge.h \
	%D%/queue_fifo.c %D%/queue_fifo.h \
	%D%/queue_get.c \
	%D%/queue_impl.h \
	%D%/queue_item.c \
	%D%/queue_join.c \
	%D%/queue_lease.c \
	%D%/queue_parties.c %D%/queue_parties.h \
	%D%/queue_put.c \
	%D%/queue_ranking.c %D%/queue_ranking.h \
	%D%/queue_slots.c %D%/queue_slots.h \
	%D%/queue_sweep.c \
	%D%/queue_wait.c \
	%D%/ring.c %D%/ring.h \
	%D%/ring_impl.h \
	%D%/ring_wait.c \
	%D%/rpc_client.c \
	%D%/rpc_message.c %D%/rpc_message.h \
	%D%/rpc_peer.c %D%/rpc_peer.h \
	%D%/rpc_request.c \
	%D%/rpc_server.c \
	%D%/stream.h %D%/stream_in.c %D%/stream_out.c \
	%D%/terms.c %D%/terms.h \
	%D%/transport.h \
	%D%/transport_ring.c %D%/transport_ring.h \
	%D%/transport_ring_beside.c \
	%D%/transport_ring_impl.h %D%/transport_ring_in.c %D%/transport_ring_out.c \
	%D%/transport_socket.c %D%/transport_socket.h \
	%D%/transport_socket_impl.h %D%/transport_socket_in.c %D%/transport_socket_out.c \
	%D%/transport_stream.c %D%/transport_stream.h %D%/transport_stream_impl.h \
	%D%/transport_stream_travel.c \
	%D%/wait.c
