module example.com/parcels/rates

go 1.19

require example.com/parcels/money v0.3.0

// lives here until the other teams need it
replace example.com/parcels/money => ./libs/money
