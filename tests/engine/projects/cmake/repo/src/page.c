#include "page.h"

#include <stdio.h>
#include <zlib.h>

const char *page(void) {
    static char text[64];
    snprintf(text, sizeof text, "served with zlib %s\n", zlibVersion());
    return text;
}
