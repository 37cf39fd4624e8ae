/* SPDX-License-Identifier: MIT */
/*
 * tine: Python's multiprocessing and concurrent.futures for C on Linux.
 *
 * This header includes every other one; see tine(7) for the overview.
 */
#ifndef TINE_H
#define TINE_H

#include <tine/array.h>
#include <tine/barrier.h>
#include <tine/base.h>
#include <tine/codec.h>
#include <tine/condition.h>
#include <tine/cpu.h>
#include <tine/dict.h>
#include <tine/error.h>
#include <tine/event.h>
#include <tine/fork.h>
#include <tine/future.h>
#include <tine/heap.h>
#include <tine/imap.h>
#include <tine/listener.h>
#include <tine/lock.h>
#include <tine/log.h>
#include <tine/once.h>
#include <tine/pipe.h>
#include <tine/pool.h>
#include <tine/process.h>
#include <tine/queue.h>
#include <tine/rpc.h>
#include <tine/rwlock.h>
#include <tine/sandbox.h>
#include <tine/semaphore.h>
#include <tine/shareable_list.h>
#include <tine/shm.h>
#include <tine/task.h>
#include <tine/time.h>
#include <tine/value.h>
#include <tine/version.h>
#include <tine/wait.h>
#include <tine/worker.h>

#endif
