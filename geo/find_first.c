/* Points to areas, as `find_first` of geo/kernels.py, whose words and rules count here too.

   The same steps in the same order, so that both give the same answer for every point: products
   and sums must be rounded one by one (-ffp-contract=off), in doubles. A module of Python's, so
   that a call of a batch of the stream costs no more than what it finds. */

#define PY_SSIZE_T_CLEAN
#define NPY_NO_DEPRECATED_API NPY_1_7_API_VERSION
#include <Python.h>
#include <numpy/arrayobject.h>

#include <float.h>
#include <stdint.h>

#if FLT_EVAL_METHOD != 0
#error "doubles are not computed in doubles"
#endif

/* From ALONE points on others may run meanwhile; for fewer, letting them costs more than it gives. */
enum { BLOCK = 256, PLAN_SIZE = 8, EMPTY = -1, ALONE = 4096 };

static const double QUICK_ERROR = 3.3306690738754716e-16;
static const double SPLITTER = 134217729.0;

/* Sign of (x2-x1)*(y-y1) - (x-x1)*(y2-y1), without error: a sum of exact products. */
static __attribute__((noinline)) int exact_sign(double x1, double y1, double x2, double y2,
                                                double x, double y) {
    const double left[6] = {x2, -x2, -x1, -x, x, x1};
    const double right[6] = {y, y1, y, y2, y1, y2};
    double sums[12];
    int count = 0;
    for (int term = 0; term < 6; term++) {
        double a = left[term], b = right[term], product = a * b;
        double c = SPLITTER * a;
        double a_high = c - (c - a), a_low = a - a_high;
        c = SPLITTER * b;
        double b_high = c - (c - b), b_low = b - b_high;
        double rest = a_low * b_low - (((product - a_high * b_high) - a_low * b_high) - a_high * b_low);
        for (int part = 0; part < 2; part++) {
            double q = part == 0 ? rest : product;
            for (int k = 0; k < count; k++) {
                double total = q + sums[k], virtual = total - q;
                sums[k] = (q - (total - virtual)) + (sums[k] - virtual);
                q = total;
            }
            sums[count++] = q;
        }
    }
    for (int k = count - 1; k >= 0; k--)
        if (sums[k] != 0.0) return sums[k] > 0.0 ? 1 : -1;
    return 0;
}

static inline int side_of(const double *edge, double x, double y) {
    double left = (edge[2] - edge[0]) * (y - edge[1]);
    double right = (x - edge[0]) * (edge[3] - edge[1]);
    double size = left - right;
    double error = QUICK_ERROR * (__builtin_fabs(left) + __builtin_fabs(right));
    if (size > error) return 1;
    if (size < -error) return -1;
    return exact_sign(edge[0], edge[1], edge[2], edge[3], x, y);
}

/* Whether a point lies in the feature of one entry of its cell's list. */
static inline int inside(const int32_t *entry, const double *edges, double x, double y, int closed) {
    int parity = entry[1] & 1;
    const int32_t *end = entry + 2 + (entry[1] >> 1);
    for (const int32_t *at = entry + 2; at < end; at++) {
        const double *edge = edges + (*at & -4);
        int below1 = edge[1] <= y, below2 = edge[3] <= y;
        if (below1 != below2) {
            int side = side_of(edge, x, y);
            if (side == 0) {
                if (closed) return 1;
            } else {
                parity ^= (side > 0) == below1;
            }
        } else if (closed && below1 && (edge[1] == y || edge[3] == y)) {
            double x1 = edge[0], x2 = edge[2];
            if (edge[1] == edge[3]) {
                if ((x1 <= x && x <= x2) || (x2 <= x && x <= x1)) return 1;
            } else if ((edge[1] == y ? x1 : x2) == x) {
                return 1;
            }
        }
        parity ^= (*at & 1 & below1) ^ ((*at >> 1) & 1 & below2);
    }
    return parity;
}

static inline const int32_t *next_entry(const int32_t *entry) { return entry + 2 + (entry[1] >> 1); }

/* For each of n points the first feature that it lies in, -1 for none.

   A block of points goes through the table, the lists and the edges in step, and each step asks
   for what the next one needs: the waits for memory overlap. */
static void find_first(const int32_t *words, const double *numbers, const double *x,
                       const double *y, int64_t n, int closed, int64_t *found) {
    const double west = numbers[0], south = numbers[1], east = numbers[2], north = numbers[3];
    const double per_unit = numbers[4];
    const int32_t columns = (int32_t)numbers[5];
    const double *edges = numbers + PLAN_SIZE;
    int32_t places[BLOCK], open_points[BLOCK];
    for (; n > 0; n -= BLOCK, x += BLOCK, y += BLOCK, found += BLOCK) {
        const int size = n < BLOCK ? (int)n : BLOCK;
        for (int k = 0; k < size; k++) {
            int within = (west <= x[k]) & (x[k] <= east) & (south <= y[k]) & (y[k] <= north);
            double across = within ? (x[k] - west) * per_unit : 0.0;
            double along = within ? (y[k] - south) * per_unit : 0.0;
            int32_t place = (int32_t)along * columns + (int32_t)across;
            places[k] = within ? place : -1;
        }
        for (int k = 0; k < size; k++) __builtin_prefetch(words + (places[k] < 0 ? 0 : places[k]));
        int count = 0;
        for (int k = 0; k < size; k++) {
            int32_t value = places[k] < 0 ? EMPTY : words[places[k]];
            found[k] = value;
            if (value < EMPTY) {
                const int32_t *list = words - 2 - (int64_t)value;
                __builtin_prefetch(list);
                __builtin_prefetch(list + 8);
                open_points[count++] = k;
            }
        }
        for (int j = 0; j < count; j++) {
            const int32_t *list = words - 2 - found[open_points[j]], *entry = list + 1;
            for (int32_t left = *list; left > 0; left--, entry = next_entry(entry))
                for (const int32_t *at = entry + 2; at < next_entry(entry); at++)
                    __builtin_prefetch(edges + (*at & -4));
        }
        for (int j = 0; j < count; j++) {
            const int k = open_points[j];
            const int32_t *list = words - 2 - found[k], *entry = list + 1;
            found[k] = EMPTY;
            for (int32_t left = *list; left > 0; left--, entry = next_entry(entry))
                if (inside(entry, edges, x[k], y[k], closed)) {
                    found[k] = *entry;
                    break;
                }
        }
    }
}

/* The doubles of an array of shape (n,) as they lie in memory; NULL of anything else. */
static inline const double *doubles(PyObject *object) {
    if (!PyArray_CheckExact(object)) return NULL;
    PyArrayObject *array = (PyArrayObject *)object;
    int plain = PyArray_TYPE(array) == NPY_DOUBLE && PyArray_NDIM(array) == 1;
    return plain && PyArray_ISCARRAY_RO(array) ? PyArray_DATA(array) : NULL;
}

static PyObject *first(PyObject *module, PyObject *const *arguments, Py_ssize_t count) {
    if (count != 5) {
        PyErr_Format(PyExc_TypeError, "5 arguments were wanted, got %zd", count);
        return NULL;
    }
    const double *x = doubles(arguments[2]), *y = doubles(arguments[3]);
    if (x == NULL || y == NULL) Py_RETURN_NONE;
    npy_intp n = PyArray_DIM((PyArrayObject *)arguments[2], 0);
    if (PyArray_DIM((PyArrayObject *)arguments[3], 0) != n) Py_RETURN_NONE;
    PyObject *found = PyArray_SimpleNew(1, &n, NPY_INT64);
    if (found == NULL) return NULL;
    const int32_t *words = PyArray_DATA((PyArrayObject *)arguments[0]);
    const double *numbers = PyArray_DATA((PyArrayObject *)arguments[1]);
    int64_t *into = PyArray_DATA((PyArrayObject *)found);
    PyThreadState *others = n < ALONE ? NULL : PyEval_SaveThread();
    find_first(words, numbers, x, y, n, PyObject_IsTrue(arguments[4]) == 1, into);
    if (others != NULL) PyEval_RestoreThread(others);
    return found;
}

static PyMethodDef methods[] = {
    {"first", (PyCFunction)(void (*)(void))first, METH_FASTCALL,
     "first(words, numbers, x, y, closed): None where x and y are not arrays of n doubles each."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "find_first", NULL, -1, methods,
                                        NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_find_first(void) {
    import_array();
    return PyModule_Create(&definition);
}
