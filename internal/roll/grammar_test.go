package roll

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestSizes(t *testing.T) {
	for text, want := range map[string]int64{
		"25TB": 25 << 40, "25 TB": 25 << 40, "20.5 t": 41 << 39, "10 t": 10 << 40, "1g": 1 << 30, "1 GB": 1 << 30,
		"3m": 3 << 20, "0.5MB": 1 << 19, "7 MiB": 7 << 20, "7GiB": 7 << 30, "7TiB": 7 << 40, "12 B": 12, "0 m": 0, "007m": 7 << 20,
		"0.1 TB": 109951162777, "65536 TB": 1 << 56, "1.000000000000000001 t": 1 << 40,
	} {
		got, err := ParseSize(text)
		if err != nil || int64(got) != want {
			t.Errorf("%q is read as %d, %v; want %d", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"": "not a number", "TB": "not a number", "-1TB": "not a number", "1.": "not a number", ".5 t": "not a number", "1.2.3t": "not a number",
		"25": "no unit", "25 tb": `unknown unit "tb"`, "25T": `unknown unit "T"`, "1 KB": `unknown unit "KB"`, "1 M": "unknown unit", "1e3 m": "unknown unit",
		"65536.1 TB": "too large", "99999999999999999999 m": "too large", "0.1234567890123456789 t": "decimals",
	} {
		if _, err := ParseSize(text); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "hint") {
			t.Errorf("%q is refused with %v; want %q and a hint", text, err, want)
		}
	}
	for size, want := range map[Size]string{0: "0 B (0 bytes)", 25 << 40: "25 TB (27487790694400 bytes)", 1536 << 20: "1536 MB (1610612736 bytes)", 1: "1 B (1 bytes)"} {
		if got := size.Resolved(); got != want {
			t.Errorf("%d is shown as %q, want %q", size, got, want)
		}
	}
}

func TestBudgets(t *testing.T) {
	for text, want := range map[string]Budget{
		"/a=10 t;/b=20.5 t":        {{Path: "/a", Size: 10 << 40}, {Path: "/b", Size: 41 << 39}},
		"/a":                       {{Path: "/a"}},
		"/mnt/big/main==2 TB":      {{Path: "/mnt/big/main", Size: 2 << 40, Exist: true}},
		"/a; /b == 5 GB ;rel/c=1m": {{Path: "/a"}, {Path: "/b", Size: 5 << 30, Exist: true}, {Path: "rel/c", Size: 1 << 20}},
	} {
		got, err := ParseBudget(text)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q is read as %+v, %v; want %+v", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"": "empty path", ";": "empty path", "/a;": "empty path", "=5g": "empty path", "/a=": "not a number", "/a==": "not a number", "/a===5g": "not a number",
		"/a=5": "no unit", "/a=0g": "nothing", "/a=1g;/a=2g": "twice", "/a\x00": "control", strings.Repeat(";", 300): "301 directories",
	} {
		if _, err := ParseBudget(text); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "hint") {
			t.Errorf("%q is refused with %v; want %q and a hint", text, err, want)
		}
	}
}

// TestResize: Database Configuration Nodes, on changing a size in use: a larger
// one holds at once, one that is more than a tenth smaller is ignored.
func TestResize(t *testing.T) {
	for _, c := range []struct {
		name      string
		now, next Size
		force     bool
		holds     Size
		ignored   bool
	}{
		{"grows", 100, 1000, false, 1000, false},
		{"stays", 100, 100, false, 100, false},
		{"shrinks by a tenth", 100, 90, false, 90, false},
		{"shrinks by more", 100, 89, false, 100, true},
		{"loses a digit", 1000, 100, false, 1000, true},
		{"loses a digit, forced", 1000, 100, true, 100, false},
		{"is removed", 100, 0, false, 0, false},
		{"is the first", 0, 50, false, 50, false},
	} {
		if holds, ignored := Resize(c.now, c.next, c.force); holds != c.holds || ignored != c.ignored {
			t.Errorf("%s: holds %d, ignored %v; want %d, %v", c.name, holds, ignored, c.holds, c.ignored)
		}
	}
}

func TestMessages(t *testing.T) {
	day := 24 * time.Hour
	for params, want := range map[string]SizeRoll{
		"type=meta,session,packet maxSize=25TB maxSizeWarm=150TB": {Types: []string{"meta", "session", "packet"}, MaxSize: 25 << 40, MaxSizeWarm: 150 << 40},
		"maxSizeWarm=1.5 t   maxSize=25 TB":                       {MaxSize: 25 << 40, MaxSizeWarm: 3 << 39},
		"type=packet minFree=200 GB":                              {Types: []string{"packet"}, MinFree: 200 << 30},
		`type="packet" maxPercent="85.5"`:                         {Types: []string{"packet"}, MaxPercent: 85.5},
		"type=meta type=session,meta maxPercent=100":              {Types: []string{"meta", "session"}, MaxPercent: 100},
	} {
		m, err := ParseMessage("/index", "sizeRoll", params)
		if err != nil || !reflect.DeepEqual(*m.Size, want) || m.Time != nil || m.Node != Index {
			t.Errorf("%q is read as %+v, %v; want %+v", params, m.Size, err, want)
		}
	}
	for params, want := range map[string]TimeRoll{
		"type=packet days=7":               {Types: []string{"packet"}, Age: 7 * day},
		"days=1 hours=2 minutes=3":         {Age: day + 2*time.Hour + 3*time.Minute},
		"minutes=90 by=row":                {Age: 90 * time.Minute, ByRow: true},
		"date=2026-01-31 by=file":          {Date: time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC)},
		`date="2026-01-31 12:30:00"`:       {Date: time.Date(2026, 1, 31, 12, 30, 0, 0, time.UTC)},
		"date=2026-01-31T12:30:00+02:00":   {Date: time.Date(2026, 1, 31, 10, 30, 0, 0, time.UTC)},
		"type=\\packet hours=1":            {},
		"type=packet,\\\"x hours=1 days=0": {},
	} {
		m, err := ParseMessage("/database", "timeRoll", params)
		if want.Age == 0 && want.Date.IsZero() {
			if err == nil {
				t.Errorf("%q is read as %+v", params, m.Time)
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(*m.Time, want) || m.Size != nil {
			t.Errorf("%q is read as %+v, %v; want %+v", params, m.Time, err, want)
		}
	}
}

func TestRefusedMessages(t *testing.T) {
	for _, c := range []struct{ node, name, params, want string }{
		{"/", "sizeRoll", "maxSize=1t", `node "/" takes no roll`},
		{"/logs", "timeRoll", "days=1", `node "/logs" takes no roll`},
		{"/index", "save", "", `message "save" is not known`},
		{"/index", "sizeroll", "maxSize=1t", "is not known"},
		{"/index", "sizeRoll", "", "0 of maxSize, minFree and maxPercent"},
		{"/index", "sizeRoll", "maxSizeWarm=1t", "0 of maxSize, minFree and maxPercent"},
		{"/index", "sizeRoll", "maxSize=1t minFree=1g", "2 of maxSize, minFree and maxPercent"},
		{"/index", "sizeRoll", "maxSize=1t maxSize=2t", "given twice"},
		{"/index", "sizeRoll", "maxsize=1t", `no parameter "maxsize"`},
		{"/index", "sizeRoll", "percentage=5", `no parameter "percentage"`},
		{"/index", "sizeRoll", "maxPercent=85 TB", `has the size unit "TB", and a percentage takes none (hint: write maxPercent=85;`},
		{"/index", "sizeRoll", "maxPercent=85g", "takes none"},
		{"/index", "sizeRoll", "maxPercent=85%", "not a percentage"},
		{"/index", "sizeRoll", "maxPercent=0", "not a percentage"},
		{"/index", "sizeRoll", "maxPercent=100.1", "not a percentage"},
		{"/index", "sizeRoll", "maxPercent=-5", "not a percentage"},
		{"/index", "sizeRoll", "maxPercent=NaN", "not a percentage"},
		{"/index", "sizeRoll", "maxSize=0TB", "is nothing"},
		{"/index", "sizeRoll", "maxSize=25", "no unit"},
		{"/index", "sizeRoll", "maxSize=25TB 150TB", "unknown unit"},
		{"/index", "sizeRoll", "type= maxSize=25TB", "not a list of streams"},
		{"/index", "sizeRoll", "type=meta, session maxSize=25TB", "not a list of streams"},
		{"/index", "sizeRoll", "type=meta session maxSize=25TB", "not a list of streams"},
		{"/index", "sizeRoll", "maxSize 25TB", "not of the form key=value"},
		{"/index", "sizeRoll", "=25TB", "key is missing"},
		{"/index", "sizeRoll", `type="meta maxSize=25TB`, "not closed"},
		{"/index", "sizeRoll", `type="meta"maxSize=25TB`, "follows a closing quote"},
		{"/index", "sizeRoll", strings.Repeat("x", 5000), "5000 bytes long"},
		{"/database", "timeRoll", "type=packet", "neither or both"},
		{"/database", "timeRoll", "days=0", "neither or both"},
		{"/database", "timeRoll", "days=1 date=2026-01-31", "neither or both"},
		{"/database", "timeRoll", "days=1.5", "not a whole number"},
		{"/database", "timeRoll", "days=-1", "not a whole number"},
		{"/database", "timeRoll", "days=36501", "too large"},
		{"/database", "timeRoll", "minutes=4294967295 days=36500", "too large"},
		{"/database", "timeRoll", "date=31.1.2026", "not one since 1970"},
		{"/database", "timeRoll", "days=1 by=session", "neither file nor row"},
		{"/database", "timeRoll", "weeks=1", `no parameter "weeks"`},
	} {
		_, err := ParseMessage(c.node, c.name, c.params)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "hint") {
			t.Errorf("%s %s %.60q is refused with %v; want %q and a hint", c.node, c.name, c.params, err, c.want)
		}
	}
}

// TestScheduler: the manual's own lines parse as they stand, quoted, escaped,
// and in any order of keys.
func TestScheduler(t *testing.T) {
	packets := Message{Node: Database, Time: &TimeRoll{Types: []string{"packet"}, Age: 7 * 24 * time.Hour}}
	archiver := Message{Node: Index, Size: &SizeRoll{Types: []string{"meta", "session", "packet"}, MaxSize: 25 << 40, MaxSizeWarm: 150 << 40}}
	for line, want := range map[string]Entry{
		`pathname=/index minutes=5 msg=sizeRoll params="type=meta,session,packet maxSize=25TB maxSizeWarm=150TB"`:   {5 * time.Minute, archiver},
		` params="type=meta,session,packet maxSize=25TB maxSizeWarm=150TB" msg=sizeRoll pathname=/index minutes=5 `: {5 * time.Minute, archiver},
		`minutes=20 pathname=/database msg=timeRoll params="type=packet days=7"`:                                    {20 * time.Minute, packets},
		`addIter minutes=20 pathname=/database msg=timeRoll params="type=packet days=7"`:                            {20 * time.Minute, packets},
		`addInter minutes="20" pathname="/database" msg="timeRoll" params="type=\"packet\" days=\"7\""`:             {20 * time.Minute, packets},
		`hours=1 seconds=30 pathname=/database msg=timeRoll params="type=packet days=7"`:                            {time.Hour + 30*time.Second, packets},
	} {
		got, err := ParseEntry(line)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s is read as %+v, %v", line, got, err)
		}
	}
	for line, want := range map[string]string{
		"": "names no pathname", `minutes=5 msg=sizeRoll`: "names no pathname", `pathname=/index msg=sizeRoll params="maxSize=1t"`: "how often",
		`pathname=/index minutes=0 msg=sizeRoll params="maxSize=1t"`:         "how often",
		`pathname=/index minutes=5 minutes=6 msg=sizeRoll`:                   "given twice",
		`pathname=/index minutes=5 msg=sizeRoll params=type=meta maxSize=1t`: `no key "maxSize"`,
		`pathname=/index minutes=5 msg=sizeRoll type=meta`:                   "type stands beside params",
		`pathname=/index minutes=5 msg=sizeRoll params="maxSize=1" TB`:       "not of the form",
		`pathname=/index minutes=5 msg=sizeRoll`:                             "0 of maxSize",
		`pathname=/index hours=9000 msg=sizeRoll params="maxSize=1t"`:        "too large",
		`addMil time=03:00 pathname=/index msg=sizeRoll`:                     "cron",
		`pathname=/index days=1 msg=sizeRoll params="maxSize=1t"`:            `no key "days"`,
	} {
		if _, err := ParseEntry(line); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "hint") {
			t.Errorf("%s is refused with %v; want %q and a hint", line, err, want)
		}
	}
}

// FuzzBudget holds that what is read is written so that it reads the same.
func FuzzBudget(f *testing.F) {
	for _, text := range []string{"/a=10 t;/b=20.5 t", "/mnt/big/main==2 TB", "/a", ";;", "/a=0.000001t", "a==1B;b"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		b, err := ParseBudget(text)
		if err != nil {
			return
		}
		again, err := ParseBudget(b.String())
		if err != nil || !reflect.DeepEqual(b, again) {
			t.Errorf("%q is read as %+v, written %q, read as %+v, %v", text, b, b, again, err)
		}
	})
}

// FuzzEntry holds the same for messages and scheduler lines.
func FuzzEntry(f *testing.F) {
	for _, text := range []string{
		`pathname=/index minutes=5 msg=sizeRoll params="type=meta,session,packet maxSize=25TB maxSizeWarm=150TB"`,
		`addIter minutes="20" pathname="/database" msg="timeRoll" params="type=\"packet\" days=\"7\""`,
		`pathname=/database hours=1 msg=sizeRoll params="maxPercent=85.5"`,
		`pathname=/database seconds=1 msg=timeRoll params="date=\"2026-01-31 12:30:00\" by=row"`,
		`pathname=/database seconds=1 msg=sizeRoll params="minFree=0.7 t"`,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		e, err := ParseEntry(text)
		if err != nil {
			return
		}
		again, err := ParseEntry(e.String())
		if err != nil || !reflect.DeepEqual(e, again) {
			t.Errorf("%q is read as %+v, written %q, read as %+v, %v", text, e, e, again, err)
		}
	})
}
