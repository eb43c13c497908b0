package config

import (
	"strconv"
	"strings"

	"holdfast/internal/fault"
	"holdfast/internal/roll"
)

// Sized reports whether the family is closed once a table is full.
func (f *Family) Sized() bool { return f.MaxRows > 0 || f.MaxBytes > 0 }

// Proven reports whether anything is said about a backup.
func (f *Family) Proven() bool { return f.NoBackup || f.Backup.Proof().Given() }

// Closing is a period of a family that is closed again and again.
type Closing struct {
	Cron     roll.Cron
	Family   string
	NoBackup bool // none is wanted
}

const closingHint = `write {cron: "10 3 1 * *", run: "archive run FAMILY"}`

// Closing returns the closing that is scheduled; false where a roll is.
func (s Scheduled) Closing() (c Closing, is bool, err error) {
	when, what := s.Cron, s.Run
	if s.line != "" {
		if when, what, is = cutLine(s.line); !is {
			return c, false, nil
		}
	}
	words := strings.Fields(what)
	if len(words) == 0 || words[0] != "archive" {
		return c, false, nil
	}
	if c.Cron, err = roll.ParseCron(when); err != nil {
		return c, true, err
	}
	if len(words) < 3 || words[1] != "run" || strings.HasPrefix(words[2], "-") {
		return c, true, fault.New(fault.InvalidParameterValue, "%q cannot be scheduled: of archive only run can", what).WithHint(closingHint)
	}
	c.Family = words[2]
	for _, flag := range words[3:] {
		switch flag {
		case "--apply": // what is scheduled acts
		case "--no-backup":
			c.NoBackup = true
		default:
			return c, true, fault.New(fault.InvalidParameterValue, "%q of %q is not for a schedule", flag, what).WithHint(closingHint)
		}
	}
	return c, true, nil
}

// cutLine reads the form that String writes.
func cutLine(line string) (cron, run string, is bool) {
	rest, is := strings.CutPrefix(line, "cron=")
	first, err := strconv.QuotedPrefix(rest)
	if !is || err != nil {
		return "", "", false
	}
	second, is := strings.CutPrefix(rest[len(first):], " run=")
	cron, err = strconv.Unquote(first)
	run, again := strconv.Unquote(second)
	return cron, run, is && err == nil && again == nil
}

// Closings returns what is scheduled of a family.
func (c *Config) Closings(family string) (all []Closing) {
	for _, s := range c.Schedule {
		if one, is, err := s.Closing(); is && err == nil && one.Family == family {
			all = append(all, one)
		}
	}
	return all
}

// judgeSchedule judges one entry that closes; false where it rolls.
func (c *Config) judgeSchedule(add report, key string, s Scheduled) bool {
	one, is, err := s.Closing()
	switch {
	case err != nil:
		f := fault.Of(err)
		add(key, f.Hint, "%s", f.Message)
	case is && len(c.Families) == 0:
		add(key, `add "families:" with it`, "there is no family %q, and no \"families\" at all", one.Family)
	case is && c.Families[one.Family] == nil:
		add(key, "it has: "+strings.Join(c.FamilyNames(), ", "), "there is no family %q under \"families\"", one.Family)
	case is && !one.NoBackup && !c.Families[one.Family].Proven():
		add(key, `add "backup:" to the family, or --no-backup to the run`, "nothing shows a backup of family %q", one.Family)
	}
	return is
}

// judgeClosing sees that what closes by itself says what stands for a backup.
func (f *Family) judgeClosing(add report, key string) {
	switch {
	case f.NoBackup && f.Backup != (Backup{}):
		add(key+".no_backup", "remove one of them", "there is a backup, and there is none")
	case f.Sized() && !f.Proven():
		add(key, `add "backup:", or "no_backup: true"`, "the family is closed by size, and nothing shows a backup")
	case f.MaxRows < 0:
		add(key+".max_rows", "", "a table has no fewer than no rows")
	case f.Check != 0 && !f.Sized():
		add(key+".check", "add max_rows or max_bytes", "there is nothing to look at")
	}
}
