/* A CUDA driver whose device lies in the host's memory, for tests on machines without a GPU.
   Copies and stream keep their promises; what is allocated is counted.
   Compiled with one of: -DNO_DEVICE, -DCRASHES, -DHANGS, -DREFUSES. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int live, retained, current;
static char context, stream;
static const void *copied_from;

int cuInit(unsigned flags) {
#if defined CRASHES
  *(volatile int *)(uintptr_t)flags = 1;
#elif defined HANGS
  for (;;) pause();
#elif defined REFUSES
  return 999;
#endif
  return 0;
}
int cuDriverGetVersion(int *version) { *version = 13000; return 0; }
int cuDeviceGetCount(int *count) {
#ifdef NO_DEVICE
  *count = 0;
#else
  *count = 1;
#endif
  return 0;
}
int cuDeviceGet(int *device, int ordinal) { *device = 7; return ordinal ? 101 : 0; }
int cuDeviceGetName(char *name, int size, int device) { snprintf(name, size, "in memory %d", device); return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
  *value = attribute == 75 ? 8 : attribute == 76 ? 9 : -1;
  return device == 7 ? 0 : 101;
}
int cuDevicePrimaryCtxRetain(void **made, int device) { *made = &context; retained++; return device == 7 ? 0 : 101; }
int cuDevicePrimaryCtxRelease_v2(int device) { retained--; return device == 7 ? 0 : 101; }
int cuCtxSetCurrent(void *made) { current = made == &context; return current ? 0 : 201; }
int cuStreamCreate(void **made, unsigned flags) { *made = &stream; live++; return flags == 1 ? 0 : 1; }
int cuStreamSynchronize(void *made) { return made == &stream ? 0 : 400; }
int cuStreamDestroy_v2(void *made) { live--; return made == &stream ? 0 : 400; }
int cuMemAlloc_v2(uint64_t *address, size_t size) {
  if (size > (size_t)1 << 30) return 2;
  *address = (uint64_t)(uintptr_t)malloc(size);
  live++;
  return current ? 0 : 201;
}
int cuMemFree_v2(uint64_t address) { free((void *)(uintptr_t)address); live--; return 0; }
int cuMemHostAlloc(void **address, size_t size, unsigned flags) { *address = malloc(size); live++; return flags; }
int cuMemFreeHost(void *address) { free(address); live--; return 0; }
int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t size, void *on) {
  memcpy((void *)(uintptr_t)to, from, size);
  copied_from = from;
  return on == &stream ? 0 : 400;
}
int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t size, void *on) {
  memcpy(to, (void *)(uintptr_t)from, size);
  return on == &stream ? 0 : 400;
}
int cuGetErrorName(int status, const char **name) { *name = status == 2 ? "OUT_OF_MEMORY" : "OTHER"; return 0; }
int live_count(void) { return live + retained; }
uint64_t last_source(void) { return (uint64_t)(uintptr_t)copied_from; }
