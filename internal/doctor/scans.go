package doctor

import (
	"fmt"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"holdfast/internal/volume"
)

// scans looks for programs that come by on their own: those that only read cost
// time where there are millions of files, others remove them.
func (x *exam) scans() {
	x.checked("updatedb", "periodic-scans", "tmpfiles", "logrotate")
	cleaned := x.tmpfiles()
	for _, p := range x.outer() {
		x.updatedb(p)
		x.cron(p)
		x.clean(p, cleaned)
		x.logrotate(p)
	}
}

var assignment = regexp.MustCompile(`(?m)^\s*(PRUNEPATHS|PRUNEFS|PRUNENAMES)\s*=\s*"?([^"\n]*)"?`)

// updatedb sees whether locate's data base takes in every file of a place.
func (x *exam) updatedb(p *place) {
	conf := x.host.etc("/etc/updatedb.conf")
	if conf == "" {
		return
	}
	values := map[string][]string{}
	for _, m := range assignment.FindAllStringSubmatch(conf, -1) {
		values[m[1]] = strings.Fields(m[2])
	}
	kind := slices.ContainsFunc(values["PRUNEFS"], func(k string) bool { return strings.EqualFold(k, p.mount.Kind) })
	left := slices.ContainsFunc(values["PRUNEPATHS"], func(dir string) bool {
		return volume.Within(path.Clean(dir), p.Dir) || volume.Within(path.Clean(dir), p.real)
	})
	called := slices.ContainsFunc(values["PRUNENAMES"], func(n string) bool { return slices.Contains(strings.Split(p.Dir, "/"), n) })
	if kind || left || called {
		return
	}
	f := Finding{Note, "updatedb", p.Dir, "not in PRUNEPATHS of /etc/updatedb.conf", "updatedb walks through it each day", "add it",
		[]string{fmt.Sprintf(`sed -i 's|^\( *PRUNEPATHS *= *"\)|\1%s |' /etc/updatedb.conf`, p.Dir)}}
	if len(values["PRUNEPATHS"]) == 0 {
		f.Commands = []string{fmt.Sprintf(`echo 'PRUNEPATHS="%s"' >> /etc/updatedb.conf`, p.Dir)}
	}
	if p.use == useNamed { // where there may be millions of files
		f.Severity = Warning
	}
	if p.use == useNamed || p.use == useData {
		x.add(f)
	}
}

// scanners are programs that look at every file, by the names of their jobs.
var scanners = regexp.MustCompile(`^(aide|chkrootkit|rkhunter|tripwire|clam.*|freshclam|lynis|debsums|samhain|maldet)`)

// walks is a job that looks for files from the root of the tree on.
var walks = regexp.MustCompile(`(?m)^[^#\n]*\b(find\s+/(\s|$)|clamscan\b.*\s/(\s|$)|grep\s+-\w*[rR]\w*\s.*\s/(\s|$))`)

// cron names jobs that walk through everything.
func (x *exam) cron(p *place) {
	if p.use != useNamed && p.use != useData {
		return
	}
	for _, when := range []string{"hourly", "daily", "weekly", "monthly"} {
		for _, job := range x.host.glob("/etc/cron." + when + "/*") {
			script := x.host.etc(job)
			if !scanners.MatchString(filepath.Base(job)) && !walks.MatchString(script) || strings.Contains(script, p.Dir) {
				continue
			}
			f := Finding{Note, "periodic-scans", p.Dir, job, "it walks through every file, " + when, "exclude " + p.Dir + " in its configuration, or remove it", []string{"cat " + quote(job)}}
			if p.use == useNamed {
				f.Severity = Warning
			}
			x.add(f)
		}
	}
}

// A cleaning is a line of tmpfiles.d that removes what is old, or all.
type cleaning struct {
	file, line, glob string
	keeps            bool // it says what is to be left alone
	below            bool // and so is everything below
}

// tmpfiles reads the lines of tmpfiles.d that remove something. A file in /etc
// goes before one of the same name in /run, and that before /usr/lib.
func (x *exam) tmpfiles() (all []cleaning) {
	seen := map[string]bool{}
	for _, dir := range []string{"/etc/tmpfiles.d", "/run/tmpfiles.d", "/usr/local/lib/tmpfiles.d", "/usr/lib/tmpfiles.d"} {
		for _, file := range x.host.glob(dir + "/*.conf") {
			if seen[filepath.Base(file)] {
				continue
			}
			seen[filepath.Base(file)] = true
			for line := range strings.Lines(x.host.etc(file)) {
				if c, ok := cleaningOf(line); ok {
					c.file = file
					all = append(all, c)
				}
			}
		}
	}
	return all
}

func cleaningOf(line string) (c cleaning, ok bool) {
	f := strings.Fields(line)
	if len(f) < 2 || strings.HasPrefix(f[0], "#") {
		return c, false
	}
	c = cleaning{line: strings.TrimSpace(line), glob: strings.TrimSuffix(strings.Trim(f[1], `"`), "/")}
	aged := len(f) >= 6 && f[5] != "-"
	switch f[0][0] {
	case 'x':
		c.keeps, c.below = true, true
	case 'X':
		c.keeps = true
	case 'R':
	case 'D', 'd', 'e', 'v', 'q', 'Q', 'C':
		if !aged && f[0][0] != 'D' {
			return c, false
		}
	default:
		return c, false
	}
	return c, true
}

// hits tells whether the glob is dir, or a directory above it.
func hits(glob, dir string) bool {
	for ; ; dir = filepath.Dir(dir) {
		if ok, _ := path.Match(glob, dir); ok {
			return true
		}
		if dir == "/" || dir == "." {
			return false
		}
	}
}

// clean says what removes files of a place by their age.
func (x *exam) clean(p *place, all []cleaning) {
	if slices.ContainsFunc(all, func(c cleaning) bool {
		return c.keeps && c.below && (hits(c.glob, p.Dir) || p.exists && hits(c.glob, p.real))
	}) {
		return
	}
	for _, c := range all {
		if !c.keeps && (hits(c.glob, p.Dir) || hits(c.glob, p.real)) {
			x.add(Finding{Critical, "tmpfiles", p.Dir, fmt.Sprintf("%q in %s", c.line, c.file), "systemd-tmpfiles removes files there, rows that no sink has among them", "move it elsewhere, or exclude it",
				[]string{fmt.Sprintf("echo 'x %s' > /etc/tmpfiles.d/holdfast.conf", p.Dir)}})
			return
		}
	}
}

// logrotate finds rules that rename or cut files of a place.
func (x *exam) logrotate(p *place) {
	for _, file := range append(x.host.glob("/etc/logrotate.d/*"), "/etc/logrotate.conf") {
		for _, rule := range rotations(x.host.etc(file)) {
			if !slices.ContainsFunc(rule.globs, func(g string) bool { return below(g, p) }) {
				continue
			}
			f := Finding{Critical, "logrotate", p.Dir, fmt.Sprintf("%q in %s", strings.Join(rule.globs, " "), file), "logrotate renames, packs and removes files there, with the rows in them",
				"take the directory out of that rule", []string{"cat " + quote(file)}}
			told := strings.Contains(rule.body, "holdfast rotate") || strings.Contains(rule.body, "USR1")
			cuts := strings.Contains(rule.body, "copytruncate")
			switch {
			case p.use == useSource && !cuts:
				continue // a renamed file is followed to its end
			case p.use == useSource:
				f.Saw, f.Means, f.Do = f.Saw+", copytruncate", "lines that are written between copy and cut are lost", "remove copytruncate: a renamed file is followed to its end; let the writer open a new one in postrotate"
			case p.use == useSink:
				switch {
				case cuts:
					f.Saw, f.Means, f.Do = f.Saw+", copytruncate", "what is written between copy and cut is lost, and the sink finds its file shorter than it left it", "remove copytruncate, and add to the rule: postrotate, holdfast rotate, endscript"
				case told:
					continue
				default:
					f.Severity, f.Means, f.Do = Warning, "logrotate renames the file, and the sink goes on writing into the renamed one", "add to the rule: postrotate, holdfast rotate, endscript"
				}
			}
			x.add(f)
		}
	}
}

type rotation struct {
	globs []string
	body  string
}

// rotations reads rules: paths, then a block in braces.
func rotations(conf string) (all []rotation) {
	var lines []string
	for line := range strings.Lines(conf) {
		if t := strings.TrimSpace(line); !strings.HasPrefix(t, "#") {
			lines = append(lines, t)
		}
	}
	rest := strings.Join(lines, "\n")
	for {
		head, tail, found := strings.Cut(rest, "{")
		if !found {
			return all
		}
		body, after, _ := strings.Cut(tail, "\n}")
		r := rotation{body: body}
		for word := range strings.FieldsSeq(head) {
			if word = strings.Trim(word, `"'`); strings.HasPrefix(word, "/") {
				r.globs = append(r.globs, word)
			}
		}
		all = append(all, r)
		rest = after
	}
}

// below tells whether a glob of files means such as are in a place.
func below(glob string, p *place) bool {
	dir := path.Dir(glob)
	for _, d := range []string{p.Dir, p.real} {
		if ok, _ := path.Match(dir, d); ok || volume.Within(d, dir) {
			return true
		}
	}
	return false
}
