package config

import "time"

// checkPatience is for how long a directory is waited for: one on NFS whose server
// is away never answers.
const checkPatience = 3 * time.Second

// found is a problem, as report takes it.
type found struct {
	key, hint, message string
	args               []any
}

// inTime reports what check finds, unless it hangs: then whoever opens the
// directory tells of that, and knows whether it is needed at once.
func inTime(bad report, check func(report)) {
	done := make(chan []found, 1)
	go func() {
		var all []found
		check(func(key, hint, message string, args ...any) { all = append(all, found{key, hint, message, args}) })
		done <- all
	}()
	t := time.NewTimer(checkPatience)
	defer t.Stop()
	select {
	case all := <-done:
		for _, f := range all {
			bad(f.key, f.hint, f.message, f.args...)
		}
	case <-t.C:
	}
}
