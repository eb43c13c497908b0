package clients

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
)

// program is the binary under test, an absolute path.
var program string

// root is the root of the repository, from this package's directory.
const root = "../.."

var update = flag.Bool("update", false, "write the table of docs/clients.md anew")

func TestMain(m *testing.M) {
	flag.Parse()
	code, err := run(m)
	if err == nil && code == 0 {
		err = goleak.Find()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// run builds the binary, runs the tests and removes it again.
func run(m *testing.M) (code int, err error) {
	if program = os.Getenv("HOLDFAST_BIN"); program != "" {
		return m.Run(), nil
	}
	dir, err := os.MkdirTemp("", "holdfast-clients-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	program = filepath.Join(dir, "holdfast")
	build := exec.Command("make", "-s", "build", "BIN="+program) // as it is shipped
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return 1, fmt.Errorf("build the binary: %w\n%s", err, out)
	}
	return m.Run(), nil
}
