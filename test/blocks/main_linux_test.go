package blocks

import (
	"fmt"
	"os"
	"testing"

	"holdfast/test/mounts"
)

// recorderVar makes this program the recorder of the image that it names.
const recorderVar = "HOLDFAST_BLOCKS_RECORD"

func TestMain(m *testing.M) {
	if image := os.Getenv(recorderVar); image != "" {
		if err := record(image); err != nil {
			fmt.Fprintf(os.Stderr, "record %q: %v\n", image, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	mounts.Main(m, "/dev/fuse")
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
