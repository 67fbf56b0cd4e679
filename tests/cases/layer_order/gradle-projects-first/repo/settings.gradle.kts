rootProject.name = "shop"
include("service", "prices")
