require "sums/sums"
