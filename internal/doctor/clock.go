package doctor

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"holdfast/internal/config"
)

// firstYear is before any moment at which this program ran: a clock that says
// less was never set.
const firstYear = 2025

// ahead is how far in the future a file may lie: file systems round, and other
// machines write too.
const ahead = time.Minute

// clock sees whether times of receipt mean something. Order does not depend on
// them: seqs do not come from a clock.
func (x *exam) clock() {
	c, err := x.host.clock()
	if err != nil {
		return // the system does not tell
	}
	x.checked("clock")
	x.now = c.Now
	const ask = "timedatectl"
	switch {
	case c.Now.Year() < firstYear:
		x.add(Finding{Critical, "clock", "the clock", c.Now.UTC().Format(time.RFC3339), "it was never set: rows get times of receipt that are wrong for ever, and certificates are not valid yet",
			"set it, and keep it right with NTP, before the server takes rows", []string{"timedatectl set-ntp true", ask}})
	case !c.Synced:
		x.add(Finding{Warning, "clock", "the clock", "not synchronised", "times of receipt drift away from those of other machines; order and delivery do not depend on them",
			"keep it right with NTP", []string{"timedatectl set-ntp true", ask}})
	}
}

// jumps looks for files from the future: the clock was ahead when they were
// written, and was set back.
func (x *exam) jumps() {
	c := x.in.Config
	if c == nil {
		return
	}
	var newest time.Time
	var which string
	entries, _ := os.ReadDir(c.Data)
	for _, e := range entries[:min(len(entries), 1000)] {
		info, err := e.Info()
		if err == nil && info.Mode()&fs.ModeSymlink == 0 && info.ModTime().After(newest) {
			newest, which = info.ModTime(), filepath.Join(c.Data, e.Name())
		}
	}
	if newest.After(x.now.Add(ahead)) {
		x.add(Finding{Warning, "clock", which, fmt.Sprintf("written %s from now", newest.Sub(x.now).Round(time.Second)), "the clock was set back: rows received from now on seem older than those before",
			"find out who sets the clock in steps; let NTP slew it", []string{"timedatectl", "journalctl -b -g 'time.*chang|clock.*step' | tail"}})
	}
	for _, name := range c.SinkNames() {
		s := c.Sinks[name]
		if s.Type == config.Flat && string(s.Zone) == "local" && s.Pattern != "" {
			x.add(Finding{Note, "clock", "sink " + name, "names of files by local time (" + x.now.Location().String() + ")", "where the clock changes in autumn an hour's files get names that there are already, and go on in them", "", nil})
		}
	}
}
