Gem::Specification.new do |spec|
  spec.name = "sums"
  spec.version = "1.0.0"
  spec.summary = "Adds in C"
  spec.authors = ["nobody"]
  spec.files = ["lib/sums.rb", "ext/sums.c", "ext/extconf.rb"]
  spec.extensions = ["ext/extconf.rb"]
end
