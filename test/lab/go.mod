// A real control plane for demos and end-to-end tests. The programs that it
// runs come from the tool modules in components and kwok, so that their
// dependencies stay out of this module, as this one's stay out of the product.
module github.com/kuberelay/kuberelay/test/lab

go 1.26.0

require golang.org/x/sys v0.49.0
