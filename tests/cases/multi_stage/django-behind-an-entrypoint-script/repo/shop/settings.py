STATIC_ROOT = "/var/lib/shop/static"
