/* SPDX-License-Identifier: MIT */
/* In the place of boost.cc where Boost is not installed. */
#include "bench/queue.h"

const struct bench_queue_side bench_queue_boost = {NULL, NULL, NULL, NULL};
