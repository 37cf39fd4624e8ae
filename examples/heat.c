/* SPDX-License-Identifier: MIT */
/*
 * heat [--check] FILE.png: how heat spreads from a hot ring and a spot, computed by all workers of
 * a pool. Each has some rows of the shared plate; after each step they meet at a barrier, and the
 * last to arrive notes how much has changed. --check compares bit by bit with one process alone.
 */
#include <tine.h>

#include <errno.h>
#include <math.h>
#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH = 600, HEIGHT = 400, STEPS = 1500 };

/* In the family heap, so every worker has it at the same address. */
struct plate {
    tine_barrier step_done;
    tine_lock lock;
    double change; /* greatest of this step so far; by who has the lock */
    double last_change;
    int parts;
    double grid[2][HEIGHT][WIDTH]; /* now and next, in turns */
    double held[HEIGHT][WIDTH];    /* a temperature that stays, NAN elsewhere */
};

/* What keeps its temperature: a ring and a spot. */
static double held_at(int x, int y)
{
    double from_ring = fabs(hypot(x - 390, y - 200) - 110), from_spot = hypot(x - 120, y - 280);

    return from_ring < 8 ? 1 : from_spot < 50 ? 0.7 : NAN;
}

static struct plate *make_plate(int parts)
{
    struct plate *p = tine_calloc(1, sizeof *p);

    if (!p || tine_lock_init(&p->lock, NULL) < 0 ||
        tine_barrier_init(&p->step_done, parts, NULL) < 0)
        return NULL;
    p->parts = parts;
    for (int y = 0; y < HEIGHT; y++)
        for (int x = 0; x < WIDTH; x++)
            p->held[y][x] = held_at(x, y);
    return p;
}

/* One step of some rows; the greatest change in them. */
static double spread(struct plate *plate, int step, int from, int to)
{
    const double(*now)[WIDTH] = plate->grid[step % 2];
    double(*next)[WIDTH] = plate->grid[(step + 1) % 2], change = 0;

    for (int y = from; y < to; y++)
        for (int x = 1; x < WIDTH - 1; x++) {
            double mean = (now[y - 1][x] + now[y + 1][x] + now[y][x - 1] + now[y][x + 1]) / 4;

            next[y][x] = isnan(plate->held[y][x]) ? mean : plate->held[y][x];
            change = fmax(change, fabs(next[y][x] - now[y][x]));
        }
    return change;
}

/* Run by one worker a step, while all others wait for it. */
static int note_change(void *context)
{
    struct plate *plate = context;

    plate->last_change = plate->change;
    plate->change = 0;
    return 0;
}

/* A part of the plate, all steps. No worker can have two of them: it is in the first one to the
   end. */
static int run_part(size_t part, size_t end, void *context)
{
    struct plate *plate = *(struct plate **)context;
    int from = 1 + (HEIGHT - 2) * (int)part / plate->parts;
    int to = 1 + (HEIGHT - 2) * (int)end / plate->parts, rc = 0;

    for (int step = 0; step < STEPS && rc >= 0; step++) {
        double change = spread(plate, step, from, to);

        if ((rc = tine_lock_acquire(&plate->lock, TINE_FOREVER)) < 0)
            break;
        plate->change = fmax(plate->change, change);
        if ((rc = tine_lock_release(&plate->lock)) == 0)
            rc = tine_barrier_wait_action(&plate->step_done, note_change, plate, TINE_FOREVER);
    }
    return rc;
}

static int run_in_pool(struct plate *plate)
{
    tine_job_options options = {.context = &plate, .context_size = sizeof plate, .chunk = 1};
    tine_pool *pool;
    int rc = tine_pool_open(&pool, &(tine_pool_options){.workers = plate->parts});

    if (rc == 0) {
        rc = tine_pool_for(pool, (size_t)plate->parts, run_part, &options);
        tine_pool_close(pool);
    }
    return rc;
}

static void paint(const struct plate *plate, uint8_t (*pixel)[3])
{
    for (int y = 0; y < HEIGHT; y++)
        for (int x = 0; x < WIDTH; x++, pixel++)
            for (int i = 0; i < 3; i++) /* red, then green, then blue, as it grows hotter */
                (*pixel)[i] =
                    (uint8_t)(255 * fmin(1, fmax(0, 3 * plate->grid[STEPS % 2][y][x] - i)));
}

static bool is_right(const struct plate *plate)
{
    struct plate *alone = make_plate(1);
    bool right = alone && run_part(0, 1, &alone) >= 0 &&
                 memcmp(plate->grid, alone->grid, sizeof plate->grid) == 0;

    tine_free(alone);
    return right;
}

int main(int argc, char **argv)
{
    static uint8_t picture[HEIGHT * WIDTH][3];
    png_image image = {
        .version = PNG_IMAGE_VERSION, .width = WIDTH, .height = HEIGHT, .format = PNG_FORMAT_RGB};
    bool checks = argc > 1 && strcmp(argv[1], "--check") == 0;
    struct plate *plate = make_plate(tine_cpu_count() < 4 ? 4 : tine_cpu_count());
    int rc;

    if (argc != 2 + checks)
        return fputs("usage: heat [--check] FILE.png\n", stderr), 2;
    rc = plate ? run_in_pool(plate) : -ENOMEM;
    if (rc < 0)
        return fprintf(stderr, "heat: %s\n", tine_strerror(rc)), EXIT_FAILURE;
    if (checks && !is_right(plate))
        return fputs("heat: alone it comes out differently\n", stderr), EXIT_FAILURE;
    paint(plate, picture);
    if (!png_image_write_to_file(&image, argv[argc - 1], 0, picture, 0, NULL))
        return fprintf(stderr, "heat: %s: %s\n", argv[argc - 1], image.message), EXIT_FAILURE;
    printf("%d steps, the last changed at most %.4f degrees\n", STEPS, plate->last_change);
    tine_free(plate);
    return EXIT_SUCCESS;
}
