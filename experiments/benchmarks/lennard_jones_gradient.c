/* Energy and gradient of Lennard-Jones clusters for many lanes at once: the practical limit of one core.

   Coordinates lie as x[block][3 * NUM_ATOMS][WIDTH], WIDTH lanes to a block, so that every operation is one
   vector operation. Each repeat moves x by a tiny step, so that no compiler can skip it. */
#ifndef REAL
#define REAL double
#endif
#define NUM_ATOMS 13
#define WIDTH (64 / (int)sizeof(REAL)) /* one vector register of the widest kind */

static void evaluate(const REAL *restrict x, REAL *restrict value, REAL *restrict grad) {
    for (int k = 0; k < 3 * NUM_ATOMS * WIDTH; k++) grad[k] = 0;
    for (int l = 0; l < WIDTH; l++) value[l] = 0;
    for (int i = 0; i < NUM_ATOMS; i++) {
        const REAL *a = x + 3 * i * WIDTH;
        REAL gx[WIDTH] = {0}, gy[WIDTH] = {0}, gz[WIDTH] = {0}, sum[WIDTH] = {0};
        for (int j = i + 1; j < NUM_ATOMS; j++) {
            const REAL *b = x + 3 * j * WIDTH;
            REAL *h = grad + 3 * j * WIDTH;
#pragma GCC ivdep
            for (int l = 0; l < WIDTH; l++) {
                REAL dx = a[l] - b[l], dy = a[WIDTH + l] - b[WIDTH + l], dz = a[2 * WIDTH + l] - b[2 * WIDTH + l];
                REAL near = 1 / (dx * dx + dy * dy + dz * dz), near6 = near * near * near;
                REAL push = 24 * (near6 - 2 * near6 * near6) * near;
                sum[l] += 4 * (near6 * near6 - near6);
                gx[l] += push * dx, gy[l] += push * dy, gz[l] += push * dz;
                h[l] -= push * dx, h[WIDTH + l] -= push * dy, h[2 * WIDTH + l] -= push * dz;
            }
        }
        REAL *g = grad + 3 * i * WIDTH;
        for (int l = 0; l < WIDTH; l++) {
            value[l] += sum[l];
            g[l] += gx[l], g[WIDTH + l] += gy[l], g[2 * WIDTH + l] += gz[l];
        }
    }
}

int width(void) { return WIDTH; }

void repeat(REAL *x, REAL *value, int num_blocks, int num_repeats, double step) {
    const int size = 3 * NUM_ATOMS * WIDTH;
    for (int r = 0; r < num_repeats; r++)
        for (int block = 0; block < num_blocks; block++) {
            REAL grad[3 * NUM_ATOMS * WIDTH];
            REAL *y = x + block * size;
            evaluate(y, value + block * WIDTH, grad);
            for (int k = 0; k < size; k++) y[k] -= (REAL)step * grad[k];
        }
}
