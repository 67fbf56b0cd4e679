module example.org/porter

go 1.23
