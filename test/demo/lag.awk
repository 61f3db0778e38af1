# Draws how far the table of step 10 was behind. Lines: seconds since it began, events stored, how many of them were still to come into
# the table. At most ten lines until it was close to the end of the log, and the last one, which must be without any.
{ at[NR] = $1; stored[NR] = $2; lag[NR] = $3 }
$3 > most { most = $3 }
!close_by && $3 <= most / 100 { close_by = NR }
close_by && $3 > later { later = $3 }

function draw(i) {
	width = most > 0 ? int(50 * lag[i] / most + 0.999) : 0
	printf "       %8s %10d %10d%s\n", at[i], stored[i], lag[i], substr("  ##################################################", 1, width > 0 ? 2 + width : 0)
}

END {
	if (NR == 0 || lag[NR] != 0)
		exit 1
	printf "       %8s %10s %10s\n", "seconds", "stored", "behind"
	step = close_by > 10 ? (close_by - 1) / 9 : 1
	for (drawn = 0; int(1 + drawn * step + 0.5) <= close_by; drawn++)
		draw(int(1 + drawn * step + 0.5))
	if (close_by < NR)
		draw(NR)
	if (later > 0)
		printf "\n   Once it was close it was at most %d behind.\n", later
}
