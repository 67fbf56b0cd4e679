from pathlib import Path

import MySQLdb

BASE_DIR = Path(__file__).resolve().parent.parent
SECRET_KEY = "only-for-local-use"
ALLOWED_HOSTS = ["*"]
DEBUG = False
ROOT_URLCONF = "shop.urls"
INSTALLED_APPS = ["django.contrib.staticfiles"]
MIDDLEWARE = ["whitenoise.middleware.WhiteNoiseMiddleware"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "/tmp/shop.sqlite3"}}
STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "assets"]
MYSQL_CLIENT = MySQLdb.version_info
