package doctor

import (
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"holdfast/internal/config"
)

// owner returns whose the file is; -1 where the system does not tell.
func owner(info fs.FileInfo) (uid, gid int) {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(st.Uid), int(st.Gid)
	}
	return -1, -1
}

// modes looks at who may read and write what.
func (x *exam) modes() {
	above := map[string]bool{}
	for _, p := range x.places {
		if !p.exists && p.real != p.Dir {
			if _, err := os.Stat(p.Dir); err != nil {
				continue // not there yet; it is made with 0700
			}
		}
		x.checked("modes")
		info, err := os.Stat(p.real)
		if err != nil {
			continue
		}
		x.directory(p, info)
		uid, _ := owner(info)
		x.parents(p.real, uid, above)
	}
	if x.in.Config != nil {
		x.configuration()
	}
}

func (x *exam) directory(p *place, info fs.FileInfo) {
	mode := info.Mode().Perm()
	found := func(s Severity, means, do string, commands ...string) {
		x.add(Finding{s, "modes", p.Dir, fmt.Sprintf("mode %04o", mode), means, do, commands})
	}
	sticky := info.Mode()&fs.ModeSticky != 0
	own := p.use == useData || p.use == useStream
	tight := "chmod 700 " + quote(p.Dir)
	switch {
	case mode&0o002 != 0 && own:
		found(Critical, "everybody on this machine may change or remove rows", "let nobody but the server's user in", tight)
	case mode&0o002 != 0 && !sticky:
		found(Critical, "everybody on this machine may put, change or remove what is there", "let only those in who should", "chmod o-w "+quote(p.Dir))
	case mode&0o002 != 0:
		found(Warning, "everybody on this machine may put files there", "let only those in who should", "chmod o-w "+quote(p.Dir))
	case mode&0o020 != 0 && own:
		found(Warning, "the whole group may change or remove rows", "let nobody but the server's user in", tight)
	case mode&0o007 != 0 && own:
		found(Warning, "everybody on this machine may look in", "let nobody but the server's user in", tight)
	}
	if uid, _ := owner(info); own && x.pid != 0 {
		if of := x.userOf(x.pid); of >= 0 && uid >= 0 && of != uid {
			x.add(Finding{Warning, "modes", p.Dir, fmt.Sprintf("owner %d, and the server runs as user %d", uid, of), "files of two owners meet there, and after the next start some may not be opened",
				"give it to the server's user", []string{fmt.Sprintf("chown -R %d %s", of, quote(p.Dir))}})
		}
	}
}

// userOf returns the effective user of a process, -1 where it is not told.
func (x *exam) userOf(pid int) int {
	if f := strings.Fields(field(text(x.host.proc(strconv.Itoa(pid), "status")), "Uid:")); len(f) >= 2 {
		if n, err := strconv.Atoi(f[1]); err == nil {
			return n
		}
	}
	return -1
}

// field returns what stands behind a name at the beginning of a line.
func field(lines, name string) string {
	for line := range strings.Lines(lines) {
		if value, ok := strings.CutPrefix(line, name); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// parents looks at each directory above dir once: whoever may write there can
// put another directory in its place.
func (x *exam) parents(dir string, uid int, seen map[string]bool) {
	for above := filepath.Dir(dir); !seen[above]; above = filepath.Dir(above) {
		seen[above] = true
		info, err := os.Stat(above)
		if err != nil {
			continue
		}
		mode := info.Mode().Perm()
		of, group := owner(info)
		found := func(s Severity, saw, do string, commands ...string) {
			x.add(Finding{s, "modes", above, saw + ", above " + dir, "whoever may write there can put a directory of his own in its place", do, commands})
		}
		sticky := info.Mode()&fs.ModeSticky != 0
		switch {
		case mode&0o002 != 0 && !sticky:
			found(Critical, fmt.Sprintf("mode %04o", mode), "let only its owner write there", "chmod go-w "+quote(above))
		case mode&0o020 != 0 && !sticky && group != 0:
			found(Warning, fmt.Sprintf("mode %04o, group %d", mode, group), "let only its owner write there, unless that group is meant to", "chmod g-w "+quote(above))
		case of > 0 && uid >= 0 && of != uid:
			found(Warning, fmt.Sprintf("owner %d", of), "let it belong to root, or to the owner of what is below", "chown root "+quote(above))
		}
	}
}

// configuration looks at the file, at what it names, and at secrets.
func (x *exam) configuration() {
	c := x.in.Config
	x.checked("configuration", "secrets")
	told := map[string]bool{}
	for _, p := range x.places {
		if _, err := os.Stat(p.Dir); err != nil {
			told[p.Dir] = true // present has said it
		}
	}
	for key, file := range c.SecretFiles() {
		info, err := os.Stat(file)
		if err != nil || info.Mode().Perm()&0o077 == 0 || strings.HasPrefix(file, "/run/credentials/") {
			continue // what is missing is told by Check, and systemd's show an access list as the group's
		}
		told[file] = true
		x.add(Finding{Critical, "secrets", file, fmt.Sprintf("mode %04o", info.Mode().Perm()), "others than its owner may read the secret of " + key, "take their right away, and change the secret: it may have been read",
			[]string{"chmod 600 " + quote(file)}})
	}
	if info, err := os.Stat(c.Path); c.Path != "" && err == nil {
		x.configFile(c, info.Mode().Perm())
	}
	problems, _ := c.Check().(config.Problems)
	for _, p := range problems {
		if !repeats(p.Message, told) {
			x.add(Finding{Critical, "configuration", strings.TrimSuffix(or(p.Where(), "the configuration"), ": "), p.Message, "the server does not start like that", or(p.Hint, "correct it"), nil})
		}
	}
}

func repeats(message string, told map[string]bool) bool {
	for file := range told {
		if strings.Contains(message, strconv.Quote(file)) {
			return true
		}
	}
	return false
}

func (x *exam) configFile(c *config.Config, mode fs.FileMode) {
	saw := fmt.Sprintf("mode %04o", mode)
	file := c.Path
	if mode&0o022 != 0 {
		x.add(Finding{Critical, "secrets", file, saw, "others than its owner may change where rows go", "take their right away", []string{"chmod go-w " + quote(file)}})
	}
	if mode&0o007 == 0 {
		return
	}
	for _, sink := range c.SinkNames() {
		u, err := url.Parse(string(c.Sinks[sink].URL))
		if err != nil {
			continue
		}
		if _, has := u.User.Password(); has || u.Query().Has("password") {
			x.add(Finding{Critical, "secrets", file, saw, "everybody on this machine may read the password of sink " + sink, "take their right away, and change the password; better keep it in a password_file", []string{"chmod o= " + quote(file)}})
		}
	}
}
