# SPDX-License-Identifier: MIT
"""The Python side of tine-bench: peer.py CASE N REPETITIONS prints one number in the case's unit.

Each function does what the case of the same name in the C files does, with the tools that a Python
user would take, and times the same span.
"""
import collections
import multiprocessing
import multiprocessing.connection
import multiprocessing.managers
import resource
import statistics
import sys
import time

WORKERS = 2
WINDOW = 64
fork = multiprocessing.get_context("fork")


def square(x):
    return x * x


def multiply(x, y):
    return x * y


def median_seconds(work, repetitions):
    """As bench_seconds(): one run to warm up, then the median of the others."""
    times = []
    for _ in range(repetitions + 1):
        start = time.monotonic()
        work()
        times.append(time.monotonic() - start)
    return statistics.median(times[1:])


def submit_window64(n, repetitions):
    def work(pool):
        window = collections.deque()
        for i in range(n):
            if len(window) == WINDOW:
                window.popleft().get()
            window.append(pool.apply_async(square, (i,)))
        while window:
            window.popleft().get()

    with fork.Pool(WORKERS) as pool:
        return median_seconds(lambda: work(pool), repetitions) / n * 1e6


def imap_chunk1(n, repetitions):
    def work(pool):
        assert sum(pool.imap_unordered(square, range(n))) == sum(i * i for i in range(n))

    with fork.Pool(WORKERS) as pool:
        return median_seconds(lambda: work(pool), repetitions) / n * 1e6


def starmap_default(n, repetitions):
    pairs = [(i, i) for i in range(n)]

    with fork.Pool(WORKERS) as pool:
        return median_seconds(lambda: pool.starmap(multiply, pairs), repetitions) / n * 1e9


def map_default(n, repetitions):
    numbers = list(range(n))

    with fork.Pool(WORKERS) as pool:
        return median_seconds(lambda: pool.map(square, numbers), repetitions) / n * 1e9


def pool_open_close(_, repetitions):
    def work():
        with fork.Pool(WORKERS) as pool:
            pool.map(square, range(WORKERS))

    return median_seconds(work, repetitions) * 1e3


def semaphore_free(n, repetitions):
    semaphore = fork.Semaphore(1)

    def work():
        for _ in range(n):
            semaphore.acquire()
            semaphore.release()

    return median_seconds(work, repetitions) / n * 1e9


def lock_free(n, repetitions):
    lock = fork.Lock()

    def work():
        for _ in range(n):
            with lock:
                pass

    return median_seconds(work, repetitions) / n * 1e9


def dict_get_python(n, repetitions):
    with multiprocessing.Manager() as manager:
        shared = manager.dict({"key-%08u" % i: i for i in range(n)})
        numbers = [i * 7919 % n for i in range(n)]
        keys = [("key-%08u" % i, i) for i in numbers]

        def work():
            for key, i in keys:
                assert shared[key] == i

        return median_seconds(work, repetitions) / n * 1e6


def take_turns(table, n, me):
    lock, conditions, turn = table
    with lock:
        for _ in range(n):
            while turn.value != me:
                conditions[me].wait()
            turn.value = 1 - me
            conditions[1 - me].notify()


def condition_pingpong(n, repetitions):
    lock = fork.Lock()
    table = lock, [fork.Condition(lock) for _ in range(2)], fork.RawValue("i", 0)

    def work():
        other = fork.Process(target=take_turns, args=(table, n, 1))
        other.start()
        take_turns(table, n, 0)
        other.join()

    return median_seconds(work, repetitions) / n * 1e6


def value_add(n, repetitions):
    value = fork.Value("q")

    def work():
        for _ in range(n):
            with value.get_lock():
                value.value += 1

    return median_seconds(work, repetitions) / n * 1e9


def barrier_rounds(n, repetitions):
    barrier = fork.Barrier(WORKERS)

    def work():
        for _ in range(n):
            barrier.wait()

    def be_other():
        for _ in range(repetitions + 1):
            work()

    other = fork.Process(target=be_other, daemon=True)
    other.start()
    seconds = median_seconds(work, repetitions)
    other.join()
    return seconds / n * 1e6


def wait_fds1000(n, repetitions):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    pipes = [fork.Pipe(duplex=False) for _ in range(1000)]
    ends = [end for end, _ in pipes]
    pipes[-1][1].send_bytes(b"x")

    def work():
        for _ in range(n):
            multiprocessing.connection.wait(ends)

    return median_seconds(work, repetitions) / n * 1e6


def queue_ring(n, repetitions):
    queue, record = fork.JoinableQueue(1000), bytes(64)

    def consume():
        for _ in range(n):
            queue.get()
            queue.task_done()

    def work():
        other = fork.Process(target=consume)
        other.start()
        for _ in range(n):
            queue.put(record)
        other.join()

    return n / median_seconds(work, repetitions) / 1e6


def send_for_ever(connection, size):
    message = b"1" * size
    while True:
        connection.send_bytes(message)


def pipe_1m(n, repetitions):
    size = 1 << 20
    here, there = fork.Pipe(duplex=False)
    other = fork.Process(target=send_for_ever, args=(there, size), daemon=True)
    other.start()

    def work():
        for _ in range(n):
            assert len(here.recv_bytes()) == size

    seconds = median_seconds(work, repetitions)
    other.kill()
    return n * size / seconds * 1e-9


def accept_for_ever(listener):
    while True:
        listener.accept().close()


def listener_dial(n, repetitions):
    key = b"0123456789abcdef" * 2
    listener = multiprocessing.connection.Listener(family="AF_UNIX", authkey=key)
    other = fork.Process(target=accept_for_ever, args=(listener,), daemon=True)
    other.start()

    def work():
        for _ in range(n):
            multiprocessing.connection.Client(listener.address, authkey=key).close()

    seconds = median_seconds(work, repetitions)
    other.kill()
    listener.close()
    return seconds / n * 1e6


class Adder:
    def add(self, a, b):
        return a + b


class AdderManager(multiprocessing.managers.BaseManager):
    pass


AdderManager.register("Adder", Adder)


def manager_call(n, repetitions):
    with AdderManager(ctx=fork) as manager:
        adder = manager.Adder()

        def work():
            for i in range(n):
                assert adder.add(i, 1) == i + 1

        return median_seconds(work, repetitions) / n * 1e6


def nothing():
    pass


def start_and_join(method):
    def case(_, repetitions):
        context = multiprocessing.get_context(method)

        def work():
            process = context.Process(target=nothing)
            process.start()
            process.join()
            assert process.exitcode == 0

        return median_seconds(work, repetitions) * 1e6

    return case


CASES = {
    "barrier.python": barrier_rounds,
    "condition.pingpong.python": condition_pingpong,
    "dict.get.python": dict_get_python,
    "queue.ring.python": queue_ring,
    "submit.window64": submit_window64,
    "imap.chunk1": imap_chunk1,
    "starmap.default": starmap_default,
    "map.default": map_default,
    "value.add.python": value_add,
    "lock.free.python": lock_free,
    "listener.dial.python": listener_dial,
    "pipe.socket.1M.python": pipe_1m,
    "pool.open_close": pool_open_close,
    "process.fork.python": start_and_join("fork"),
    "process.forkserver.python": start_and_join("forkserver"),
    "process.spawn.python": start_and_join("spawn"),
    "rpc.rtt": manager_call,
    "rpc.window64": manager_call,
    "semaphore.free.python": semaphore_free,
    "wait.fds1000.python": wait_fds1000,
}

if __name__ == "__main__":
    print(CASES[sys.argv[1]](int(sys.argv[2]), int(sys.argv[3])))
