package holdfast

import (
	"errors"
	"io/fs"
	"path"
	"strings"
	"syscall"

	"holdfast/internal/fault"
)

// without says what it means to go on without a file, by its name.
var without = map[string]string{
	"HOLDS":        "everything is held then, where there were holds, until you have said which",
	"SINKS":        "every sink is paused then, where anything was said of one, until you resume it",
	"catalog.json": "tables are learned anew then; declare them again where unknown ones are refused",
	"ROLL":         "it is made anew; a roll that was cut short is not ended then, and can be asked for again",
	"BUDGETS":      "it is made anew from the configuration",
	"SOURCES":      "look what was stored of each source that is followed before it is read again",
	"MANIFEST":     "it is made anew from the segments, and named as damage once",
	"GAPS":         "rows that repair gave up are named as damage again, until the next repair",
}

// explainDisk says what to do about a start that the file system refused.
func (db *DB) explainDisk(err error) error {
	var at *fs.PathError
	switch {
	case errors.Is(err, syscall.EROFS):
		return fault.New(fault.IOError, "data directory %q, or another one of its streams, is on a file system that is read-only", db.dir).Because(err).
			WithHint("where an error of the disk made it so, look at dmesg first; else mount it for writing (mount -o remount,rw); verify, cat, status and repair without --apply work as it is")
	case errors.Is(err, syscall.EISDIR) && errors.As(err, &at):
		name := path.Base(at.Path)
		f := fault.New(fault.IOError, "data directory %q has a directory where the file %s belongs", db.dir, name).Because(err)
		if what := without[strings.TrimSuffix(name, ".tmp")]; what != "" {
			return f.WithHint("put the file back from a backup; without one move the directory away: %s", what)
		}
		return f.WithHint("put the file back from a backup, or move the directory away")
	}
	return err
}
