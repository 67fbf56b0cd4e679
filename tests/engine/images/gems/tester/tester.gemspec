Gem::Specification.new do |spec|
  spec.name = "tester"
  spec.version = "2.0.0"
  spec.summary = "Only for development"
  spec.authors = ["nobody"]
  spec.files = ["lib/tester.rb"]
end
