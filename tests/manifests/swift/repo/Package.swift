let package = Package(dependencies: [.package(path: "Local")])
