# event_store, built with PGXS:
#	make, make install, make installcheck    with the server that PG_CONFIG names
# and without touching anything outside this directory (see test/lib.sh; PG_CONFIG or PG_MAJOR choose the server):
#	make demo, make test, make bench, make soak, make matrix, make package

EXTENSION = event_store
MODULE_big = event_store
SQL_VERSION = $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" $(here)event_store.control)

# pgxs.mk sets srcdir too late for the lists below
here := $(dir $(firstword $(MAKEFILE_LIST)))
SOURCES = $(sort $(wildcard $(here)src/*.c $(here)src/*/*.c))
OBJS = $(patsubst $(here)%.c,%.o,$(filter-out $(here)src/http/%,$(SOURCES)))
HEADER_FILES = $(wildcard $(here)src/*.h $(here)src/*/*.h $(here)src/*/*.def)
PG_CPPFLAGS = -I$(srcdir)/src

# The install script is joined from its parts, in the order of their names.
PARTS = $(sort $(wildcard $(here)sql/event_store/*.sql))
INSTALL_SQL = sql/event_store--$(SQL_VERSION).sql
DATA_built = $(INSTALL_SQL)
DATA = $(patsubst $(here)%,%,$(wildcard $(here)sql/event_store--*--*.sql))

# Order matters: store makes what the later ones use.
REGRESS = store append append_many read payload find stream stream_life index order problem hostile telemetry aggregate command verify schema import tenant registry session subscription task schedule supervisor event_handler process_manager projection upcast middleware assert condition tenant_life migration tenant_limit tenant_move
ISOLATION = $(patsubst $(here)test/isolation/specs/%.spec,%,$(sort $(wildcard $(here)test/isolation/specs/*.spec)))

# installcheck makes its own server, for the library must be preloaded; whoever has one that does passes REGRESS_OPTS= and ISOLATION_OPTS
REGRESS_OPTS = --temp-instance=build/regress --temp-config=$(srcdir)/test/server.conf --inputdir=$(srcdir)
ISOLATION_OPTS = --temp-instance=build/isolation --temp-config=$(srcdir)/test/server.conf --inputdir=$(srcdir)/test/isolation \
	--load-extension=event_store
# The metrics endpoint is a library of its own, built where libmicrohttpd can be found.
HTTP_OBJS = $(patsubst $(here)%.c,%.o,$(filter $(here)src/http/%,$(SOURCES)))
HTTP_LIBS := $(shell pkg-config --libs libmicrohttpd 2>/dev/null)

EXTRA_CLEAN = $(INSTALL_SQL) build $(HTTP_OBJS) event_store_http.so

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)

ifneq ($(wildcard $(PGXS)),)
# for a build outside the source directory
$(shell mkdir -p sql $(sort $(dir $(OBJS) $(HTTP_OBJS))))
include $(PGXS)
else
all install installcheck:
	@echo "$(PG_CONFIG) --pgxs leads to no file: install the server's development files or set PG_CONFIG" >&2; exit 1
clean:
	rm -rf build
endif

# The servers' build does not track headers. Those here are small: any of them that changes rebuilds all.
$(OBJS) $(OBJS:.o=.bc) $(HTTP_OBJS): $(HEADER_FILES)

ifneq ($(HTTP_LIBS),)
all: event_store_http$(DLSUFFIX)
install: install-http
endif
$(HTTP_OBJS): override CPPFLAGS += $(shell pkg-config --cflags libmicrohttpd)
event_store_http$(DLSUFFIX): $(HTTP_OBJS)
	$(LINK.shared) -o $@ $(HTTP_OBJS) $(LDFLAGS) $(LDFLAGS_SL) $(HTTP_LIBS)
install-http: event_store_http$(DLSUFFIX) installdirs
	$(INSTALL_SHLIB) $< '$(DESTDIR)$(pkglibdir)/'
uninstall: uninstall-http
uninstall-http:
	rm -f '$(DESTDIR)$(pkglibdir)/event_store_http$(DLSUFFIX)'

# The directory is named so that a part added or removed counts too.
$(INSTALL_SQL): $(PARTS) $(here)sql/event_store
	cat $(PARTS) >$@.tmp
	mv $@.tmp $@

export SHARED ?= ../shared

test:
	@bash $(here)test/run.sh

demo bench soak matrix package:
	@bash $(here)test/$@/run.sh

# what is told of each metric in doc, from src/observe/metrics.def
monitoring:
	perl $(here)doc/monitoring/generate.pl

# for the scripts
list-regress:
	@echo $(REGRESS)

list-isolation:
	@echo $(ISOLATION)

.PHONY: test demo bench soak matrix package monitoring list-regress list-isolation install-http uninstall-http
