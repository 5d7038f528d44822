// H.264 without delay for Firefox. Its software encoder comes as a plugin that is downloaded,
// which a test must not do. Firefox can also encode with the system's libavcodec and libx264, but
// opens x264 with its defaults, for files: forty frames are looked at before the first comes out,
// and a call never starts. Preloaded, this opens the encoder as one does for a call.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>

#define STRING_OF(x) #x
#define STRING(x) STRING_OF(x)
#define JOIN_OF(a, b) a##b
#define JOIN(a, b) JOIN_OF(a, b)
// The name carries x264's interface version.
#define OPEN JOIN(x264_encoder_open_, X264_BUILD)

void *OPEN(void *param) {
    static const char *const settings[][2] = {
        {"bframes", "0"}, {"rc-lookahead", "0"}, {"sync-lookahead", "0"},
        {"mbtree", "0"},  {"sliced-threads", "1"}, {"threads", "1"},
    };
    void *library = dlopen("libx264.so." STRING(X264_BUILD), RTLD_NOW | RTLD_NOLOAD);
    if (!library) return NULL;
    void *(*open)(void *) = (void *(*)(void *))dlsym(library, STRING(OPEN));
    int (*set)(void *, const char *, const char *) =
        (int (*)(void *, const char *, const char *))dlsym(library, "x264_param_parse");
    if (!open || !set) return NULL;
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        if (set(param, settings[i][0], settings[i][1])) return NULL;
    return open(param);
}
