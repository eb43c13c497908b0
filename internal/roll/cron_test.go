package roll_test

import (
	"strings"
	"testing"
	"time"

	"holdfast/internal/roll"
)

// TestCron holds when jobs come.
func TestCron(t *testing.T) {
	from := time.Date(2026, 1, 30, 22, 59, 30, 0, time.UTC) // a Friday
	for text, want := range map[string]string{
		"* * * * *":        "2026-01-30 23:00",
		"10 3 1 * *":       "2026-02-01 03:10",
		"*/15 * * * *":     "2026-01-30 23:00",
		"5-10/5,50 22 * *": "",
		"59 22 * * *":      "2026-01-31 22:59",
		"0 0 29 2 *":       "2028-02-29 00:00",
		"0 0 * * 7":        "2026-02-01 00:00",
		"0 0 * * 0":        "2026-02-01 00:00",
		"0 0 15 * 1":       "2026-02-02 00:00", // one of the two days is enough
		"30 1-3 * 3,5 *":   "2026-03-01 01:30",
		"0 0 30 2 *":       "", "60 * * * *": "", "* 24 * * *": "", "* * 0 * *": "", "a * * * *": "", "*/0 * * * *": "", "5-3 * * * *": "", "": "", "-1 * * * *": "",
	} {
		c, err := roll.ParseCron(text)
		if got := ""; err == nil {
			if got = c.Next(from).Format("2006-01-02 15:04"); got != want {
				t.Errorf("%q comes at %s, want %q", text, got, want)
			}
		} else if want != "" {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestJobs holds what may be scheduled, and that it can be read again.
func TestJobs(t *testing.T) {
	for line, want := range map[string]string{
		`pathname=/index minutes=5 msg=sizeRoll params="type=meta,session,packet maxSize=25TB maxSizeWarm=150TB"`: "every 5m0s: /index sizeRoll type=meta,session,packet maxSize=25TB maxSizeWarm=150TB",
		`cron="10 3 1 * *" run="roll size --type a,b --max-size=2GB"`:                                             "cron 10 3 1 * *: /database sizeRoll type=a,b maxSize=2GB",
		`cron="0 4 * * *" run="roll time --days 7 --by row-time --apply"`:                                         "cron 0 4 * * *: /database timeRoll days=7 by=row",
		`cron="0 4 * * *" run="roll size --node /index --max-percent 85"`:                                         "cron 0 4 * * *: /index sizeRoll maxPercent=85",
		`cron="0 4 * * *" run="roll size --max-percent 85TB"`:                                                     "!takes none",
		`cron="0 4 * * *" run="roll size"`:                                                                        "!has 0 of",
		`cron="0 4 * * *" run="roll size --type"`:                                                                 "!not known",
		`cron="0 4 * * *" run="archive run x"`:                                                                    "!cannot be scheduled",
		`cron="0 4 * * *" what="roll size"`:                                                                       "!no key",
		`cron="0 4 * *" run="roll time --days 1"`:                                                                 "!5 fields",
	} {
		job, err := roll.ParseJob(line)
		if bad, is := strings.CutPrefix(want, "!"); is {
			if err == nil || !strings.Contains(err.Error(), bad) {
				t.Errorf("%s: %v, want %q", line, err, bad)
			}
			continue
		}
		if err != nil || job.String() != want {
			t.Errorf("%s is %q (%v), want %q", line, job, err, want)
		}
	}
}
