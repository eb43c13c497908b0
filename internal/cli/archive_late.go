package cli

import (
	"fmt"

	"holdfast/archive"
	"holdfast/archive/closing"
)

// showLate prints what becomes of rows that came late: how many of each table,
// and the statements, unless brief.
func showLate(env *Env, all []closing.LateMove, brief bool) error {
	w := env.Stdout
	for _, m := range all {
		for _, h := range m.Tables {
			rows := plural(int(h.Filed+h.Staying), "late row")
			switch {
			case m.Late == archive.LateRoute:
				fmt.Fprintf(w, "late: route: %s of %s into archive %d, %s\n", rows, h.Table, m.Archive, oneLine(h.Archive))
			case m.Late == archive.LateCurrent:
				fmt.Fprintf(w, "late: current: %s of %s stay where they are\n", rows, h.Table)
			default:
				fmt.Fprintf(w, "late: reject: %s of %s, which no sink refused; nobody moves them\n", rows, h.Table)
			}
		}
		if brief || len(m.Statements) == 0 {
			continue
		}
		switch m.Late {
		case archive.LateRoute:
			fmt.Fprintln(w, "-- before the closing, in steps of 2000 dated rows, each a transaction")
		case archive.LateCurrent:
			fmt.Fprintln(w, "-- put back with the other rows that stay")
		default:
			fmt.Fprintln(w, "-- sinks are told before the swap what is being closed, and when the archive is listed")
		}
		for _, one := range m.Statements {
			if _, err := fmt.Fprintln(w, one+";"); err != nil {
				return err
			}
		}
	}
	return nil
}

// showRouted prints what a run moved into older archives.
func showRouted(env *Env, all []closing.LateMove) error {
	for _, m := range all {
		for _, h := range m.Tables {
			if _, err := fmt.Fprintf(env.Stdout, "late: route: %s of %s moved into archive %d\n", plural(int(h.Filed), "row"), h.Table, m.Archive); err != nil {
				return err
			}
		}
	}
	return nil
}
