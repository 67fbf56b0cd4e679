module example.org/vane

go 1.24
