package volume

import "os"

// mountinfo is what the kernel says of the mounts that this process sees.
func mountinfo() string {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return ""
	}
	return string(text)
}
