#ifndef PAGE_H
#define PAGE_H
const char *page(void);
#endif
