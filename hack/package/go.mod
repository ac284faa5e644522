// The packager, in a module of its own so that its dependencies stay out of the
// product's. Run it with: make package
module github.com/kuberelay/kuberelay/hack/package

go 1.26.0
