/* SPDX-License-Identifier: MIT */
/*
 * mandelbrot [-v] FILE.png: a corner of the Mandelbrot set, its rows rendered by a pool straight
 * into one shared array. With -v the file is read back and compared, pixel by pixel, with a picture
 * that this process renders alone.
 */
#include <tine.h>

#include <errno.h>
#include <math.h>
#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH = 1280, HEIGHT = 800, SAMPLES = 2, STEPS = 1500 };

typedef uint8_t pixel[3];

/* After how many steps the point escapes, as a smooth number; negative when it does not. */
static double escape_time(double re, double im)
{
    double x = 0, y = 0;

    for (int i = 0; i < STEPS; i++) {
        double xx = x * x, yy = y * y;

        if (xx + yy > 256)
            return i + 1 - log2(log2(xx + yy) / 2);
        y = 2 * x * y + im;
        x = xx - yy + re;
    }
    return -1;
}

/* Adds the colour of a point, each part 0 to 1; points of the set itself are black. */
static void add_colour(double sum[3], double time)
{
    static const double phase[] = {3.0, 3.6, 4.5};

    for (int i = 0; i < 3 && time >= 0; i++)
        sum[i] += 0.5 + 0.5 * cos(phase[i] + 0.6 * sqrt(time));
}

/* A pixel is the mean of SAMPLES by SAMPLES points. */
static void render_pixel(pixel out, size_t column, size_t row)
{
    const double step = 0.006 / (WIDTH * SAMPLES);
    const double left = -0.7435 - step * WIDTH * SAMPLES / 2;
    const double top = 0.1314 + step * HEIGHT * SAMPLES / 2;
    double sum[3] = {0};

    for (size_t y = row * SAMPLES; y < (row + 1) * SAMPLES; y++)
        for (size_t x = column * SAMPLES; x < (column + 1) * SAMPLES; x++)
            add_colour(sum, escape_time(left + step * (double)x, top - step * (double)y));
    for (int i = 0; i < 3; i++)
        out[i] = (uint8_t)(255 * sum[i] / (SAMPLES * SAMPLES) + 0.5);
}

/* The context is a copy of a pointer; what it points to is the same memory in every worker. */
static int render_rows(size_t begin, size_t end, void *context)
{
    pixel *picture = *(pixel **)context;

    for (size_t row = begin; row < end; row++)
        for (size_t column = 0; column < WIDTH; column++)
            render_pixel(picture[row * WIDTH + column], column, row);
    return 0;
}

static int render_in_pool(pixel *picture)
{
    tine_job_options options = {.context = &picture, .context_size = sizeof picture, .chunk = 8};
    tine_pool *pool;
    int rc = tine_pool_open(&pool, NULL);

    if (rc < 0)
        return rc;
    options.progress = tine_progress_bar;
    rc = tine_pool_for(pool, HEIGHT, render_rows, &options);
    tine_pool_close(pool);
    return rc;
}

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "mandelbrot: %s: %s\n", what, why);
    return EXIT_FAILURE;
}

static int write_png(const char *path, const pixel *picture)
{
    png_image image = {
        .version = PNG_IMAGE_VERSION, .width = WIDTH, .height = HEIGHT, .format = PNG_FORMAT_RGB};

    return png_image_write_to_file(&image, path, 0, picture, 0, NULL) ? 0
                                                                      : fail(path, image.message);
}

static int verify_png(const char *path)
{
    static pixel read[HEIGHT * WIDTH], alone[HEIGHT * WIDTH];
    png_image image = {.version = PNG_IMAGE_VERSION};
    pixel *picture = alone;

    if (!png_image_begin_read_from_file(&image, path))
        return fail(path, image.message);
    if (image.width != WIDTH || image.height != HEIGHT) {
        png_image_free(&image);
        return fail(path, "wrong size");
    }
    image.format = PNG_FORMAT_RGB;
    if (!png_image_finish_read(&image, NULL, read, 0, NULL))
        return fail(path, image.message);
    render_rows(0, HEIGHT, &picture);
    for (size_t i = 0; i < HEIGHT * WIDTH; i++)
        if (memcmp(read[i], alone[i], sizeof(pixel)) != 0) {
            fprintf(stderr, "mandelbrot: row %zu, column %zu differs\n", i / WIDTH, i % WIDTH);
            return EXIT_FAILURE;
        }
    printf("%s: all %d pixels are right\n", path, HEIGHT * WIDTH);
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    bool verify = argc > 1 && strcmp(argv[1], "-v") == 0;
    const char *path = argv[argc - 1];
    pixel *picture = tine_calloc(HEIGHT * WIDTH, sizeof *picture);
    int rc;

    if (argc != 2 + verify || *path == '-') {
        fputs("usage: mandelbrot [-v] FILE.png\n", stderr);
        return 2;
    }
    rc = picture ? render_in_pool(picture) : -ENOMEM;
    if (rc < 0)
        return fail("rendering", tine_strerror(rc));
    rc = write_png(path, picture);
    if (rc == 0 && verify)
        rc = verify_png(path);
    tine_free(picture);
    return rc;
}
