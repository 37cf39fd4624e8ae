# Fuzz targets, and the replay of their corpus.
#
# With --enable-fuzzers (CC=clang) each is a libFuzzer program:
#     tests/fuzz/fuzz_reader -max_total_time=600 new-inputs ../tests/fuzz/corpus/reader
# Otherwise a small main runs it over the corpus, which is what `make check` does in both cases.
# An input that failed once stays in the corpus.
fuzz_targets = \
	%D%/fuzz_frame \
	%D%/fuzz_function \
	%D%/fuzz_handshake \
	%D%/fuzz_pickle \
	%D%/fuzz_reader \
	%D%/fuzz_rpc \
	%D%/fuzz_stream \
	%D%/fuzz_unpack
check_PROGRAMS += $(fuzz_targets)
dist_check_SCRIPTS += %D%/replay.sh
TESTS += %D%/replay.sh
EXTRA_DIST += %D%/corpus

if FUZZERS
fuzz_main =
fuzz_ldflags = $(AM_LDFLAGS) -fsanitize=fuzzer
else
fuzz_main = %D%/replay.c
fuzz_ldflags = $(AM_LDFLAGS)
endif

%C%_fuzz_frame_SOURCES = %D%/fuzz_frame.c %D%/fuzz.h $(fuzz_main)
%C%_fuzz_frame_LDFLAGS = $(fuzz_ldflags)
%C%_fuzz_frame_LDADD = libtinecore.la
%C%_fuzz_function_SOURCES = %D%/fuzz_function.c %D%/fuzz.h $(fuzz_main)
%C%_fuzz_function_LDFLAGS = $(fuzz_ldflags)
%C%_fuzz_function_LDADD = libtinecore.la
%C%_fuzz_handshake_SOURCES = %D%/fuzz_handshake.c %D%/fuzz.h $(fuzz_main)
%C%_fuzz_handshake_LDFLAGS = $(fuzz_ldflags)
%C%_fuzz_handshake_LDADD = libtinecore.la
%C%_fuzz_pickle_SOURCES = %D%/fuzz_pickle.c %D%/fuzz.h $(fuzz_main)
%C%_fuzz_pickle_LDFLAGS = $(fuzz_ldflags)
%C%_fuzz_pickle_LDADD = libtinecore.la
%C%_fuzz_reader_SOURCES = %D%/fuzz_reader.c %D%/fuzz.h $(fuzz_main)
%C%_fuzz_reader_LDFLAGS = $(fuzz_ldflags)
%C%_fuzz_reader_LDADD = libtinecore.la
%C%_fuzz_rpc_SOURCES = %D%/fuzz_rpc.c %D%/fuzz.h $(fuzz_main)
%C%_fuzz_rpc_LDFLAGS = $(fuzz_ldflags)
%C%_fuzz_rpc_LDADD = libtinecore.la
%C%_fuzz_stream_SOURCES = %D%/fuzz_stream.c %D%/fuzz.h $(fuzz_main)
%C%_fuzz_stream_LDFLAGS = $(fuzz_ldflags)
%C%_fuzz_stream_LDADD = libtinecore.la
%C%_fuzz_unpack_SOURCES = %D%/fuzz_unpack.c %D%/fuzz.h $(fuzz_main)
%C%_fuzz_unpack_LDFLAGS = $(fuzz_ldflags)
%C%_fuzz_unpack_LDADD = libtinecore.la
