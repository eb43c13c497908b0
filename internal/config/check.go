package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Check looks at the paths that c names and returns Problems for those that
// cannot be: a file where a directory is needed, or the other way about, and a
// directory written with == that is missing. It creates and changes nothing.
func (c *Config) Check() error {
	var out Problems
	bad := func(key, hint, message string, args ...any) {
		out = append(out, c.problem(key, hint, fmt.Sprintf(message, args...)))
	}
	if err := directory(c.Data); err != nil {
		bad("data", "name a directory, or a path where one can be made", "data %q: %s", c.Data, err)
		return out // paths below it would only say the same again
	}
	for _, name := range c.StreamNames() {
		c.Streams[name].check(bad, "streams."+name+".")
	}
	if c.ManifestDir != "" {
		checkPlace(bad, "manifest_dir", Place{Path: c.ManifestDir})
	}
	c.checkCold(bad)
	c.checkAccess(bad)
	for _, name := range c.SinkNames() {
		c.Sinks[name].check(func(key, hint, message string, args ...any) { bad("sinks."+name+"."+key, hint, message, args...) })
	}
	for _, name := range c.SourceNames() {
		c.Sources[name].check(func(key, hint, message string, args ...any) { bad("sources."+name+"."+key, hint, message, args...) })
	}
	if len(out) > 0 {
		return out.sorted()
	}
	return nil
}

// check looks at the directories of the stream and of its index.
func (s *Stream) check(bad report, key string) {
	for _, p := range s.Hot.Places() {
		checkPlace(bad, key+"hot", p)
	}
	if s.Warm.Path != "" {
		for _, p := range s.Warm.Places() {
			checkPlace(bad, key+"warm", p)
		}
	}
	for which, p := range s.Index.places() {
		checkPlace(bad, key+"index."+which, p)
	}
}

// checkPlace sees that a directory is there, or can be made where it may be.
func checkPlace(bad report, key string, p Place) {
	inTime(bad, func(bad report) { placeNow(bad, key, p) })
}

// placeNow is checkPlace, however long that takes.
func placeNow(bad report, key string, p Place) {
	if _, err := os.Stat(p.Path); p.Exist && errors.Is(err, fs.ErrNotExist) {
		bad(key, "mount the volume, or make the directory; with a single = it is made at start", "directory %q is missing", p.Path)
	} else if err := directory(p.Path); err != nil {
		bad(key, "name a directory, or a path where one can be made", "directory %q: %s", p.Path, err)
	}
}

// check looks at the paths that the sink names.
func (s *Sink) check(bad report) {
	switch s.Type {
	case SQLite:
		if info, err := os.Stat(s.File); err == nil && !info.Mode().IsRegular() {
			bad("path", "name a file", "path %q is not a file", s.File)
			return
		}
		if err := directory(filepath.Dir(s.File)); err != nil {
			bad("path", "", "path %q: %s", s.File, err)
		}
	case Flat, Mcache:
		// Other programs read there, so it is for somebody else to make.
		if info, err := os.Stat(s.Directory()); err != nil || !info.IsDir() {
			bad("url", "make it, and let the user that the server runs as write there", "directory %q is missing", s.Directory())
		}
	}
	for key, file := range s.secrets() {
		if file != "" {
			checkSecret(bad, key, key, file)
		}
	}
}

// directory returns why dir is not, and cannot become, a directory: something
// that is none stands in its way.
func directory(dir string) error {
	for {
		info, err := os.Stat(dir)
		if err == nil && !info.IsDir() {
			return fmt.Errorf("%q is not a directory", dir)
		}
		if err == nil {
			return nil
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
			return err
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return err
		}
		dir = parent
	}
}
