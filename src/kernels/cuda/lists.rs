//! Lists of launches that were run lately, to know those that come again.

use std::collections::HashMap;
use std::sync::Arc;

use super::Launch;

/// Lists that are remembered: of a stream some twenty, for each phase some more.
const MOST: usize = 256;

/// How a list is to be run.
#[derive(Debug)]
pub enum Known<G> {
    /// Launch by launch.
    Plain,
    /// As what is to be made of it now, see [`Lists::keep`].
    Again,
    /// As what was made of it.
    Graph(Arc<G>),
}

#[derive(Debug)]
enum State<G> {
    /// It was run once.
    Seen,
    /// Something is made of it now, or could not be made.
    Tried,
    Made(Arc<G>),
}

/// The lists, and what was made of them.
#[derive(Debug)]
pub struct Lists<G> {
    /// And when each was run last.
    all: HashMap<Vec<Launch>, (State<G>, u64)>,
    /// Counts the lists that were run.
    now: u64,
}

impl<G> Default for Lists<G> {
    fn default() -> Self {
        Self {
            all: HashMap::new(),
            now: 0,
        }
    }
}

impl<G> Lists<G> {
    /// How a list is to be run that is run now: again the second time.
    pub fn run(&mut self, launches: &[Launch]) -> Known<G> {
        self.now += 1;
        let Some((state, last)) = self.all.get_mut(launches) else {
            self.make_room();
            let new = (State::Seen, self.now);
            self.all.insert(launches.to_vec(), new);
            return Known::Plain;
        };
        *last = self.now;
        match state {
            State::Seen => {
                *state = State::Tried;
                Known::Again
            }
            State::Tried => Known::Plain,
            State::Made(graph) => Known::Graph(graph.clone()),
        }
    }

    /// Forgets the list that was not run for longest, if there are too many.
    fn make_room(&mut self) {
        if self.all.len() < MOST {
            return;
        }
        let oldest = self.all.iter().min_by_key(|(_, (_, last))| *last);
        if let Some(oldest) = oldest.map(|(launches, _)| launches.clone()) {
            self.all.remove(&oldest);
        }
    }

    /// Keeps what was made of a list, unless that is forgotten already.
    pub fn keep(&mut self, launches: &[Launch], graph: &Arc<G>) {
        if let Some((state, _)) = self.all.get_mut(launches) {
            *state = State::Made(graph.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(of: i32) -> Vec<Launch> {
        vec![Launch::new("module", "function").with(of)]
    }

    #[test]
    fn a_list_is_known_by_all_that_it_tells_the_card() {
        let mut lists = Lists::default();
        let mut wider = list(1);
        wider[0].block = [32, 1, 1];
        let twice = [list(1), list(1)].concat();
        for (i, list) in [list(1), list(2), wider, twice].iter().enumerate() {
            assert!(matches!(lists.run(list), Known::Plain), "{i}");
            assert!(matches!(lists.run(list), Known::Again), "{i}");
            // a second thread that comes meanwhile
            assert!(matches!(lists.run(list), Known::Plain), "{i}");
            lists.keep(list, &Arc::new(i));
        }
        for of in [1, 2] {
            let Known::Graph(graph) = lists.run(&list(of)) else {
                panic!("{of}");
            };
            assert_eq!(*graph, of as usize - 1);
        }
    }

    #[test]
    fn lists_that_are_not_run_are_forgotten() {
        let mut lists = Lists::<()>::default();
        assert!(matches!(lists.run(&list(0)), Known::Plain));
        for i in 1..3 * MOST as i32 {
            assert!(matches!(lists.run(&list(i)), Known::Plain), "{i}");
            lists.run(&list(0));
            lists.keep(&list(0), &Arc::new(()));
        }
        assert_eq!(lists.all.len(), MOST);
        assert!(matches!(lists.run(&list(0)), Known::Graph(_)));
        assert!(matches!(lists.run(&list(1)), Known::Plain));
        lists.keep(&list(2), &Arc::new(()));
        assert_eq!(lists.all.len(), MOST);
    }
}
