module holdfast/test/blocks

go 1.26.0

require (
	github.com/hanwen/go-fuse/v2 v2.12.1
	golang.org/x/sys v0.49.0
	holdfast v0.0.0
)

require github.com/klauspost/compress v1.20.3 // indirect

replace holdfast => ../..
