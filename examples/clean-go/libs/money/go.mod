module example.com/parcels/money

go 1.19
