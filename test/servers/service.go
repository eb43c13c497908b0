package servers

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A Service is a program whose package would start it with the machine, so that
// scripts/install-deps may only have unpacked it.
type Service struct {
	Program string
	Modules string   // the directory that it loads modules from
	Env     []string // to run it with: it finds its libraries by that
}

// FindService looks for a program, and for one of its modules
// ("kamailio/modules/acc.so"), below what is unpacked in the repository with
// that root, then among what is installed.
func FindService(tb testing.TB, root, name, module string) (s Service, ok bool) {
	tb.Helper()
	unpacked, err := filepath.Abs(filepath.Join(root, "bin/daemons"))
	if err != nil {
		tb.Fatal(err)
	}
	for _, top := range []string{unpacked, "/"} {
		program := filepath.Join(top, "usr/sbin", name)
		found, _ := filepath.Glob(filepath.Join(top, "usr/lib/*-linux-gnu", module))
		if _, err := os.Stat(program); err != nil || len(found) == 0 {
			continue
		}
		lib := strings.TrimSuffix(found[0], "/"+module)
		s := Service{Program: program, Modules: filepath.Dir(found[0]), Env: os.Environ()}
		if top != "/" {
			path := []string{lib, filepath.Join(lib, name), filepath.Join(top, "lib", filepath.Base(lib))}
			s.Env = append(s.Env, "LD_LIBRARY_PATH="+strings.Join(path, ":"))
		}
		return s, true
	}
	return Service{}, false
}
