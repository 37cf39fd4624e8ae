/* SPDX-License-Identifier: MIT */
/*
 * download: fetches 15 pages over HTTP with libcurl, one after the other, with a pool of threads
 * and with one of processes, and as futures that report as they are done. The server is a pool,
 * too: its workers wait for connections, and take a while for each page.
 */
#include <tine.h>

#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PAGES   15
#define WORKERS 5

static void check(const char *what, int rc)
{
    if (rc >= 0)
        return;
    fprintf(stderr, "download: %s: %s\n", what, tine_strerror(rc));
    exit(EXIT_FAILURE);
}

/* ---- the server ------------------------------------------------------------------------------ */

static size_t size_of_page(int page)
{
    return 1000 * (size_t)(page + 1);
}

static void answer(int connection)
{
    static char body[1000 * PAGES];
    char request[1024];
    ssize_t got = read(connection, request, sizeof request - 1); /* small enough to come at once */
    int page = got > 0 && sscanf(request, "GET /%d ", &page) == 1 ? page : PAGES;

    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    memset(body, 'a' + page, sizeof body);
    if (page < 0 || page >= PAGES) {
        dprintf(connection, "HTTP/1.0 404 Not Found\r\n\r\n");
        return;
    }
    dprintf(connection, "HTTP/1.0 200 OK\r\nContent-Length: %zu\r\n\r\n%.*s", size_of_page(page),
            (int)size_of_page(page), body);
}

static int serve(size_t begin, size_t end, void *context)
{
    int connection;

    (void)begin, (void)end;
    while ((connection = accept(*(int *)context, NULL, NULL)) >= 0) {
        answer(connection);
        close(connection);
    }
    return -errno;
}

/* On a port of the system's choice, which is returned. */
static int start_server(tine_pool **pool, tine_future **future)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    tine_pool_options options = {.workers = PAGES, .flags = TINE_POOL_NO_BUDGET};
    tine_job_options job = {.context = &listener, .context_size = sizeof listener, .chunk = 1};

    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 ||
        listen(listener, PAGES) < 0 ||
        getsockname(listener, (struct sockaddr *)&address, &size) < 0)
        perror("download"), exit(EXIT_FAILURE);
    check("server", tine_pool_open(pool, &options));
    check("server", tine_pool_for_async(future, *pool, PAGES, serve, &job));
    return ntohs(address.sin_port);
}

/* ---- the client ------------------------------------------------------------------------------ */

static size_t count(char *bytes, size_t size, size_t n, void *user)
{
    (void)bytes;
    *(size_t *)user += size * n;
    return size * n;
}

/* How many bytes the page has, or a negative code. */
static int64_t fetch(int port, int page)
{
    CURL *curl = curl_easy_init();
    size_t bytes = 0;
    char url[64];
    CURLcode rc;

    if (curl == NULL)
        return -ENOMEM;
    snprintf(url, sizeof url, "http://127.0.0.1:%d/%d", port, page);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, count);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &bytes);
    curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    rc = curl_easy_perform(curl);
    curl_easy_cleanup(curl);
    return rc == CURLE_OK ? (int64_t)bytes : -EIO;
}

static void report(const char *way, const int64_t *sizes, const struct timespec *begin)
{
    struct timespec end;
    int64_t total = 0;
    int pages = 0;

    clock_gettime(CLOCK_MONOTONIC, &end);
    for (int i = 0; i < PAGES; i++) {
        pages += sizes[i] == (int64_t)size_of_page(i);
        total += sizes[i];
    }
    printf("%s: %d pages, %" PRId64 " bytes\n", way, pages, total);
    fflush(stdout);
    fprintf(stderr, "%s: %.3f s\n", way,
            (double)(end.tv_sec - begin->tv_sec) + 1e-9 * (double)(end.tv_nsec - begin->tv_nsec));
}

static int fetch_item(const void *in, void *out, void *context)
{
    int64_t bytes = fetch(*(int *)context, *(const int *)in);

    *(int64_t *)out = bytes;
    return bytes < 0 ? (int)bytes : 0;
}

/* A word's difference: threads or processes. */
static void fetch_by_pool(const char *way, int32_t kind, int port)
{
    tine_pool_options options = {.workers = WORKERS, .kind = kind};
    tine_job_options job = {.context = &port, .context_size = sizeof port, .chunk = 1};
    int64_t sizes[PAGES] = {0};
    int pages[PAGES];
    struct timespec begin;
    tine_pool *pool;

    for (int i = 0; i < PAGES; i++)
        pages[i] = i;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    check(way, tine_pool_open(&pool, &options));
    check(way,
          tine_pool_map(
              pool, &(tine_map){fetch_item, pages, sizeof pages[0], sizes, sizeof sizes[0], PAGES},
              &job));
    tine_pool_close(pool);
    report(way, sizes, &begin);
}

static int fetch_task(tine_call *call)
{
    int port, page, rc = tine_args(call, "ii", &port, &page);
    int64_t bytes = rc < 0 ? rc : fetch(port, page);

    if (bytes < 0)
        return tine_fail(call, (int)bytes, "page %d cannot be had", page);
    return tine_return(call, "q", bytes);
}

/* Called in the wait for any of them. */
static void tell(tine_future *future, void *user)
{
    int64_t bytes;

    if (tine_future_result(future, 0, "q", &bytes) == 0)
        fprintf(stderr, "  page %d: %" PRId64 " bytes\n", *(int *)user, bytes);
}

static void fetch_as_completed(int port)
{
    const char *way = "as completed";
    int64_t sizes[PAGES] = {0};
    int pages[PAGES];
    tine_future *futures[PAGES], *done;
    tine_as_completed *iterator;
    struct timespec begin;
    tine_pool *pool;

    clock_gettime(CLOCK_MONOTONIC, &begin);
    check(way, tine_pool_open(&pool, &(tine_pool_options){.workers = WORKERS}));
    for (int i = 0; i < PAGES; i++) {
        pages[i] = i;
        check(way, tine_pool_submit(&futures[i], pool, fetch_task, NULL, "ii", port, i));
        check(way, tine_future_add_done_callback(futures[i], tell, &pages[i]));
    }
    check(way, tine_as_completed_open(&iterator, futures, PAGES));
    while (tine_as_completed_next(iterator, TINE_FOREVER, &done) > 0)
        for (int i = 0; i < PAGES; i++)
            if (futures[i] == done)
                check(way, tine_future_result(done, 0, "q", &sizes[i]));
    tine_as_completed_close(iterator);
    for (int i = 0; i < PAGES; i++)
        tine_future_close(futures[i]);
    tine_pool_close(pool);
    report(way, sizes, &begin);
}

int main(void)
{
    int64_t sizes[PAGES];
    struct timespec begin;
    tine_future *serving;
    tine_pool *server;
    int port;

    curl_global_init(CURL_GLOBAL_ALL);
    port = start_server(&server, &serving);
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (int i = 0; i < PAGES; i++)
        sizes[i] = fetch(port, i);
    report("serially", sizes, &begin);
    fetch_by_pool("by threads", TINE_THREADS, port);
    fetch_by_pool("by processes", TINE_PROCESSES, port);
    fetch_as_completed(port);
    tine_future_close(serving);
    tine_pool_close(server); /* kills it */
    curl_global_cleanup();
    return EXIT_SUCCESS;
}
