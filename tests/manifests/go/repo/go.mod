module example.org/app

go 1.22

require (
	example.org/lib v1.0.0
)

replace example.org/lib => ./lib // local

replace example.org/gone => ../gone
