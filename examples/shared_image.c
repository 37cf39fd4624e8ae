/* SPDX-License-Identifier: MIT */
/*
 * shared_image NAME WIDTH HEIGHT: makes a named segment of WIDTH x HEIGHT doubles, a gradient, and
 * waits for a line on standard input; then says what has become of it, and unlinks it.
 *
 * Meanwhile Python can use the same doubles, without a copy:
 *
 *     import numpy
 *     from multiprocessing import resource_tracker
 *     from multiprocessing.shared_memory import SharedMemory
 *
 *     shm = SharedMemory(name="NAME")
 *     resource_tracker.unregister("/NAME", "shared_memory")   # before 3.13; from then on: track=False
 *     image = numpy.ndarray((HEIGHT, WIDTH), "d", shm.buf)
 *     image *= 2
 *     del image
 *     shm.close()
 */
#include <tine.h>

#include <stdio.h>
#include <stdlib.h>

struct size {
    size_t width, height;
};

/* Runs before anybody can see the segment. */
static int draw(void *data, size_t bytes, void *context)
{
    const struct size *size = context;
    double *pixels = data;

    (void)bytes;
    for (size_t y = 0; y < size->height; y++)
        for (size_t x = 0; x < size->width; x++)
            pixels[y * size->width + x] = (double)x + (double)y;
    return 0;
}

static double sum(const double *pixels, size_t n)
{
    double total = 0;

    for (size_t i = 0; i < n; i++)
        total += pixels[i];
    return total;
}

int main(int argc, char **argv)
{
    struct size size = {0, 0};
    tine_shm *shm;
    size_t n;
    int rc;

    if (argc == 4)
        size = (struct size){strtoul(argv[2], NULL, 10), strtoul(argv[3], NULL, 10)};
    if (size.width == 0 || size.height == 0 || size.width > 100000 || size.height > 100000) {
        fputs("usage: shared_image NAME WIDTH HEIGHT\n", stderr);
        return 2;
    }
    n = size.width * size.height;
    rc = tine_shm_create(&shm, argv[1], n * sizeof(double),
                         &(tine_shm_options){.init = draw, .context = &size});
    if (rc < 0) {
        fprintf(stderr, "shared_image: %s: %s\n", argv[1], tine_strerror(rc));
        return EXIT_FAILURE;
    }
    printf("%zu pixels, sum %.17g\n", n, sum(tine_shm_data(shm), n));
    fflush(stdout);
    getchar();
    printf("sum %.17g\n", sum(tine_shm_data(shm), n));
    rc = tine_shm_unlink(shm);
    if (rc == 0)
        rc = tine_shm_detach(shm);
    return rc == 0 && fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
