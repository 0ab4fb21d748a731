/* A libcublas for the tests: as much of it as the stand-ins pass on (scripts/cuda/standins.py). It computes nothing, and fails unless its arguments are
   those of a product of halves or floats that candle asks for. */
static int handle;

int cublasCreate_v2(void **made) { return *made = &handle, 0; }
int cublasDestroy_v2(void *of) { return of == &handle ? 0 : 7; }
int cublasSetStream_v2(void *of, void *stream) { return of == &handle && stream ? 0 : 7; }
int cublasGemmStridedBatchedEx(void *of, int ta, int tb, int m, int n, int k, const void *alpha, const void *a, int a_type, int a_row, long long a_apart,
                               const void *b, int b_type, int b_row, long long b_apart, const void *beta, void *c, int c_type, int c_row,
                               long long c_apart, int count, int compute, int algorithm) {
  int halves = a_type == 2 && b_type == 2 && c_type == 2, floats = !a_type && !b_type && !c_type;
  /* CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT or that on tensor cores */
  int known = compute == 68 && (algorithm == -1 || algorithm == 99);
  return of == &handle && alpha && a && b && beta && c && m > 0 && n > 0 && k > 0 && count == 1 && (halves || floats) && known ? 0 : 7;
}
