#include <ruby.h>

static VALUE add(VALUE self, VALUE left, VALUE right) {
    (void)self;
    return LONG2NUM(NUM2LONG(left) + NUM2LONG(right));
}

void Init_sums(void) {
    rb_define_module_function(rb_define_module("Sums"), "add", add, 2);
}
