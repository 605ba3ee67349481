/* A driver whose device is the memory of the host; one call can be made to fail, and what goes wrong is counted. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static int devices = 1, failing = -1, calls = 0, held = 0, capturing = 0, launches = 0, streams = 0, ready = 0;

void fake_reset(int count, int fail_at) {
    devices = count; failing = fail_at; calls = held = capturing = launches = streams = ready = 0;
}
int fake_held(void) { return held + streams; }
int fake_launches(void) { return launches; }

static int step(void) { return calls++ == failing ? 2 : 0; }

int cuInit(unsigned flags) { ready = 1; return devices == 0 ? 100 : flags ? 1 : step(); }
int cuGetErrorName(int code, const char **text) { *text = code == 2 ? "CUDA_ERROR_OUT_OF_MEMORY" : NULL; return 0; }
int cuGetErrorString(int code, const char **text) { *text = code == 2 ? "out of memory" : NULL; return 0; }
int cuDeviceGetCount(int *count) { *count = devices; return step(); }
int cuDeviceGet(int *device, int number) { *device = number + 40; return step(); }
int cuDeviceGetName(char *name, int size, int device) { strncpy(name, device == 40 ? "Fake 40" : "Fake 41", size); return step(); }
int cuDeviceGetAttribute(int *value, int what, int device) { *value = what == 75 ? 12 : what == 76 ? 1 : -1; return step(); }
int cuDevicePrimaryCtxRetain(void **context, int device) { *context = (void *)(size_t)(0x123456789abcull + device); return step(); }
int cuCtxSetCurrent(void *context) { return (size_t)context >> 20 == 0x1234567 ? step() : 201; }
int cuMemAlloc_v2(unsigned long long *address, size_t size) {
    int code = step();
    if (code) return code;
    *address = (unsigned long long)(size_t)malloc(size); held++; return 0;
}
int cuMemFree_v2(unsigned long long address) { free((void *)(size_t)address); held--; return step(); }
int cuMemcpyHtoDAsync_v2(unsigned long long to, const void *from, size_t size, void *stream) {
    if (stream != (void *)0x7fff00000010) return 400;
    memcpy((void *)(size_t)to, from, size); return step();
}
int cuMemcpyDtoHAsync_v2(void *to, unsigned long long from, size_t size, void *stream) {
    if (stream != (void *)0x7fff00000010) return 400;
    memcpy(to, (void *)(size_t)from, size); return step();
}
int cuStreamCreate(void **stream, unsigned flags) { *stream = (void *)0x7fff00000010; streams++; return flags == 1 ? step() : 1; }
int cuStreamSynchronize(void *stream) { return stream == (void *)0x7fff00000010 ? step() : 400; }
int cuStreamDestroy_v2(void *stream) { streams--; return stream == (void *)0x7fff00000010 ? step() : 400; }
int cuStreamBeginCapture_v2(void *stream, int mode) { capturing = 1; return mode == 1 ? step() : 1; }
int cuStreamEndCapture(void *stream, void **graph) {
    int code = step();
    if (!capturing) return 901;
    capturing = 0; *graph = code ? NULL : (void *)0x7fff00000020; if (!code) held++; return code;
}
int cuGraphInstantiateWithFlags(void **made, void *graph, unsigned long long flags) {
    if (graph != (void *)0x7fff00000020 || flags) return 1;
    int code = step();
    if (code) return code;
    *made = (void *)0x7fff00000030; held++; return 0;
}
int cuGraphLaunch(void *made, void *stream) { launches++; return made == (void *)0x7fff00000030 ? step() : 400; }
int cuGraphDestroy(void *graph) { held--; return graph == (void *)0x7fff00000020 ? step() : 400; }
int cuGraphExecDestroy(void *made) { held--; return made == (void *)0x7fff00000030 ? step() : 400; }
int cuEventCreate(void **event, unsigned flags) { *event = (void *)(0x7fff00000040 + held++); return step(); }
int cuEventRecord(void *event, void *stream) { return stream == (void *)0x7fff00000010 ? step() : 400; }
int cuEventElapsedTime(float *time, void *first, void *second) { *time = (float)((size_t)second - (size_t)first) / 2; return step(); }
int cuEventDestroy_v2(void *event) { held--; return step(); }
